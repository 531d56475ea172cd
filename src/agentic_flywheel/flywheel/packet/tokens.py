"""How many tokens a text costs, estimated without a model.

A token is taken to be three bytes of UTF-8 where they are lower-case letters of ASCII or spaces, and two bytes
otherwise: capitals, digits, punctuation, and every other script. One number of bytes for all would be too low for
what stands in every turn: a hexadecimal id or a timestamp has 1.6 to 1.8 bytes a token, English prose 4 to 5.

Counted against the byte-level BPE of OpenAI's published vocabularies, cl100k_base and o200k_base, the estimate is
this multiple of the truth:

=======================================  ===========  ==========
text                                     cl100k_base  o200k_base
=======================================  ===========  ==========
turns in JSON, with their ids and times  1.1 to 1.3   1.1 to 1.3
English prose, Markdown, program code    1.1 to 1.6   1.1 to 1.6
German, French, Spanish                  1.2 to 1.3   1.4
Polish, Czech, Hungarian, Finnish        0.95 to 1.0  1.1 to 1.2
Chinese, Japanese, Korean                1.1 to 1.4   1.4 to 1.8
Russian, Arabic, Hindi, Thai             1.2 to 2.0   2.4 to 3.5
Greek, Hebrew, Tamil                     0.9 to 1.0   1.8 to 3.3
numbers, tables, log lines               0.9 to 1.1   0.9 to 1.1
lists of URLs, timestamps, ids           0.7 to 0.9   0.7 to 0.9
emoji                                    0.7 to 0.8   0.8 to 1.3
Georgian, Telugu, Burmese                0.7 to 0.8   2.5 to 3.3
random letters (base64), rare CJK        0.6          0.6 to 0.8
=======================================  ===========  ==========

So it is too low for text without any words in it, and for scripts that the older vocabulary hardly knows (Armenian
and Oriya are the worst there, at half). No such tokenizer makes more tokens than there are bytes. Vocabularies that
are not published may differ.

Weights are whole numbers, sixths of a token, and those of two texts add up to that of both: what is put together
by weight has exactly the weight that was reckoned.
"""

from __future__ import annotations

from collections.abc import Callable

from ...jsontext import encode

SIXTHS = 6
"""Of a token: the unit of weights."""

LIGHTEST = 2
"""What the lightest character weighs."""

_LIGHT = b"abcdefghijklmnopqrstuvwxyz "


def weight(data: bytes) -> int:
    """What a text in UTF-8 weighs, in sixths of a token."""
    return LIGHTEST * len(data) + len(data.translate(None, _LIGHT))


def weight_of(value: object) -> int:
    """What a value weighs as JSON, in sixths of a token; a text with its quotes and escapes."""
    return weight(encode(value))


def estimate_tokens(text: str) -> int:
    """How many tokens a text costs, by the estimate above. It may hold no lone surrogates."""
    return -(-weight(text.encode()) // SIXTHS)


def longest(text: str, room: int, weigh: Callable[[str], int]) -> str | None:
    """The longest beginning of a text that is not too heavy; None if even its first character is.

    ``weigh`` says what a beginning weighs with all that stands around it. The whole text is not tried.
    """
    low, high = 0, min(len(text) - 1, room // LIGHTEST)
    while low < high:
        middle = (low + high + 1) // 2
        if weigh(text[:middle]) <= room:
            low = middle
        else:
            high = middle - 1
    return text[:low] if low > 0 else None
