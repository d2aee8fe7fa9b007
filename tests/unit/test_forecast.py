"""An estimate of the tokens of a corpus, from its rows and the size of its text."""

from producer.forecast import BYTES_PER_TOKEN, estimate_tokens


def test_short_texts_have_their_tokens_and_two_special_ones_whatever_becomes_of_long_ones() -> None:
    size = 100 * 50 * BYTES_PER_TOKEN

    for long_text in ("truncate", "windows", "windows-max"):
        estimate = estimate_tokens(rows=100, text_bytes=size, max_length=128, long_text=long_text)
        assert estimate == 100 * (50 + 2)


def test_long_texts_are_cut_or_read_in_windows_with_an_overlap() -> None:
    size = 100 * 998 * BYTES_PER_TOKEN

    cut = estimate_tokens(rows=100, text_bytes=size, max_length=128, long_text="truncate")
    windows = estimate_tokens(rows=100, text_bytes=size, max_length=128, long_text="windows")

    assert cut == 100 * 128
    assert windows == 100 * 1_000 * 4 // 3
