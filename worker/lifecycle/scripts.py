"""What language a text may be in, roughly: by the script of most of its letters.

A script is not a language: everything in Latin letters counts as one. It shows texts that a model
for another language would be given, no more.
"""

import polars as pl

# Enough of a text to tell.
LOOKED_AT_CHARACTERS = 1_000
# Japanese is written in Han and kana; a text with such a share of kana among them is Japanese.
KANA_SHARE = 0.1

_KANA = r"[\p{Hiragana}\p{Katakana}]"
SCRIPTS = {
    "Latin": r"\p{Latin}",
    "Cyrillic": r"\p{Cyrillic}",
    "Greek": r"\p{Greek}",
    "Arabic": r"\p{Arabic}",
    "Hebrew": r"\p{Hebrew}",
    "Devanagari": r"\p{Devanagari}",
    "Thai": r"\p{Thai}",
    "Hangul (Korean)": r"\p{Hangul}",
    "Han (Chinese)": r"\p{Han}",
}
JAPANESE, OTHER, NONE = "kana (Japanese)", "other", "no letters"


def scripts_of(texts: pl.Series) -> pl.Series:
    """Return the script of each text; null texts have no letters."""
    begun = pl.col("text").fill_null("").str.slice(0, LOOKED_AT_CHARACTERS)
    counts = {name: begun.str.count_matches(pattern) for name, pattern in SCRIPTS.items()}
    letters, kana = begun.str.count_matches(r"\p{L}"), begun.str.count_matches(_KANA)
    table = pl.DataFrame({"text": texts}).select(letters=letters, kana=kana, **counts)
    most = pl.max_horizontal(*SCRIPTS)
    east = pl.col("Han (Chinese)") + pl.col("kana")
    japanese = (pl.col("kana") > KANA_SHARE * east) & (east >= most)
    found = table.select(
        pl.coalesce(
            pl.when(pl.col("letters") == 0).then(pl.lit(NONE)),
            pl.when(japanese).then(pl.lit(JAPANESE)),
            *(
                pl.when((pl.col(script) > 0) & (pl.col(script) == most)).then(pl.lit(script))
                for script in SCRIPTS
            ),
            pl.lit(OTHER),
        ).alias("script")
    )
    return found.to_series()
