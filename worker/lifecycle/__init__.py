"""The life of a model before it scores: training it, and making small ones from nothing."""
