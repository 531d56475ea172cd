"""What Flowise 3.1.4 was seen to make of the variables and files that go along with a question."""

from __future__ import annotations

from typing import Any

VARIABLES = ("tone",)
"""Those that the flows let callers set; others are left out without a word."""

_ENDINGS = {"text/plain": "txt", "image/png": "png"}


def variables(override: dict[str, Any]) -> dict[str, Any]:
    """The variables that a flow sees."""
    given = override.get("vars")
    return {name: given[name] for name in VARIABLES if name in given} if isinstance(given, dict) else {}


def kept(uploads: Any) -> Any:
    """The files of a question as they are kept with it; anything but a list of objects is kept unseen.

    Raises:
        ValueError: one of them is refused; says why.
    """
    return [_kept(each) for each in uploads] if isinstance(uploads, list) else uploads or None


def whole_texts(uploads: Any) -> str:
    """What goes before the question in an agentflow: files of the kind ``file:full``, whole."""
    found = [each for each in uploads if isinstance(each, dict)] if isinstance(uploads, list) else []
    whole = [each for each in found if each.get("type") == "file:full" and each.get("data")]
    texts = "".join(f"<doc name='{each.get('name')}'>{each['data']}</doc>\n\n" for each in whole)
    return f"{texts}\n\n" if texts else ""


def _kept(upload: Any) -> Any:
    if not isinstance(upload, dict) or not upload.get("data") or upload.get("type") == "url":
        return upload
    kind = upload.get("type")
    if kind in ("file", "file:rag", "audio"):
        _refuse(upload)
        kind = "stored-file"
    elif kind == "file:full":
        kind = "stored-file:full"
    else:
        return upload
    return {name: value for name, value in upload.items() if name != "data"} | {"type": kind}


def _refuse(upload: dict[str, Any]) -> None:
    head, comma, _ = str(upload["data"]).partition(",")
    if not comma or ":" not in head:
        raise ValueError("Cannot read properties of undefined (reading 'split')")
    mime = head.partition(":")[2].partition(";")[0]
    name = upload.get("name")
    if not isinstance(name, str):
        raise ValueError("Invalid filename: filename is required and must be a string")
    if mime not in _ENDINGS:
        raise ValueError(f'MIME type "{mime}" is not supported or does not have a valid file extension mapping')
    ending = name.rpartition(".")[2]
    if ending != _ENDINGS[mime]:
        says = f'file extension "{ending}" does not match declared MIME type "{mime}"'
        raise ValueError(f"MIME type mismatch: {says}. Expected: {_ENDINGS[mime]}")
