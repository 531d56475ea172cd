"""Well-known forms of keys and tokens, wherever they stand in a text.

Each is exact about its prefix, its alphabet and its least length, and where people write words of the same
alphabet (``sk-circle-fade-dot``, *bearer of good news*) there has to be a digit, too: what is masked is gone.
"""

from __future__ import annotations

import re
from functools import lru_cache

_LONG = 64 * 1024  # characters; longer texts are not remembered
SHORTEST = 6  # characters of the shortest text that holds a secret: ``://:x@``

_PEM_NAME = "(?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----"
_PEM_BODY = rf"(?:[^-]|-(?!----)){{1,20000}}-----END {_PEM_NAME}"
_PEM_CUT_OFF = r"(?:(?:\\[nr]|\s){0,4}[A-Za-z0-9+/=]{32,})+"

# Each with what it begins with, one of which is in every text that holds it.
_TOKENS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("sk-",), r"sk-(?=[\w-]*[0-9])(?=[\w-]*\w{12})[\w-]{20,}"),  # OpenAI, Anthropic, and who followed them
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_[A-Za-z0-9]{36,}"),
    (("github_pat_",), r"github_pat_\w{22,}"),
    (("AKIA", "ASIA"), r"A[KS]IA[A-Z0-9]{16}(?![\w-])"),  # AWS
    (("xox",), r"xox[abeoprs]-(?=[\w-]*[0-9])[A-Za-z0-9-]{10,}"),  # Slack
    (("xapp-",), r"xapp-[0-9]-[A-Za-z0-9-]{10,}"),
    (("AIza",), r"AIza[\w-]{35}(?![\w-])"),  # Google
    (("glpat-",), r"glpat-[\w-]{20,}"),
    (("npm_",), r"npm_[A-Za-z0-9]{36}"),
    (("hf_",), r"hf_[A-Za-z0-9]{30,}"),  # Hugging Face
    (("k_live_", "k_test_"), r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"),  # Stripe
    (("flywheel_",), r"flywheel_[\w-]{43}"),  # as `flywheel users token` makes them
    (("eyJ",), r"eyJ[\w-]{10,}\.[\w-]*\.[\w-]*(?:\.[\w-]*\.[\w-]+)?"),  # JWT; an encrypted one has five parts
)
_FORMS = (
    *((begins, re.compile(rf"(?<![\w-]){form}", re.ASCII)) for begins, form in _TOKENS),
    (("-----BEGIN ",), re.compile(rf"-----BEGIN {_PEM_NAME}(?:{_PEM_BODY}|{_PEM_CUT_OFF})")),
)
# Of these, what stands before the secret is kept.
_IN_A_URL = re.compile(r"""(://[^\s/:@?#"'<>]{0,256}:)(?![$<{\[*])[^\s/@"'<>]{1,1024}(?=@)""")
_BEARER = re.compile(r"\b([Bb]earer +)(?=[\w.~+/-]*[0-9])[\w.~+/-]{16,}=*", re.ASCII)


def mask_in(text: str, mask: str) -> str:
    """The text with ``mask`` in place of each secret of a well-known form."""
    if not may_hold_one(text):
        return text
    for begins, form in _FORMS:
        if any(start in text for start in begins):
            text = form.sub(mask, text)
    if "@" in text and "://" in text:
        text = _IN_A_URL.sub(rf"\1{mask}", text)
    return _BEARER.sub(rf"\1{mask}", text) if "earer " in text else text


# The sieve. A save has to look at every text it writes, and mostly finds nothing. So a form is looked for by a rare
# character that its beginning ends with: these are all made one (\x01), which the search then finds without looking
# at the others, and capitals are made small.
_ONE = bytes.maketrans(b"BCDEFGHIKLMOPQRSTUVWYZ-_AJNx", b"bcdefghiklmopqrstuvwyz\x01\x01\x01\x01\x01\x01")
_ENDS = re.compile(
    b"\x01(?<=[kpousrtmfelzyi].)(?:(?<=sk.)|(?<=gh[pousr].)|(?<=pat.)|(?<=npm.)|(?<=hf.)|(?<=k\x01live.)"
    b"|(?<=k\x01test.)|(?<=wheel.)|(?<=\x01o.)|(?<=\x01app.)|(?<=ey.)|(?<=\x01[ks]i.)|(?<=begi.))|\x01iza"
)


def may_hold_one(text: str) -> bool:
    """Whether a text may hold a secret of a well-known form; where it is False, it holds none."""
    return _seen_lately(text) if len(text) < _LONG else _may_hold_one(text)


@lru_cache(maxsize=64)  # what a save writes as a turn, it writes as an execution, too
def _seen_lately(text: str) -> bool:
    return _may_hold_one(text)


def _may_hold_one(text: str) -> bool:
    data = text.encode(errors="surrogatepass").translate(_ONE)
    if b"\x01" in data and _ENDS.search(data) is not None:
        return True
    return ("@" in text and "://" in text) or b"bearer" in data
