r"""Makes untrusted text safe for the terminal: no name can move the cursor, add a line or reverse one.

Letters of any script stay, as do the marks that join or direct single letters. Characters that control a terminal or
the direction of a line become escapes.
"""

# Controls (C0, delete, C1), line separators, direction embeddings and overrides, and annotations.
_RANGES = ((0, 0x20), (0x7F, 0xA0), (0x2028, 0x202F), (0x2066, 0x206A), (0xFFF9, 0xFFFC))
_CONTROLS = [code for start, end in _RANGES for code in range(start, end)]
_NAMED = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}
ESCAPES = {chr(code): rf"\x{code:02x}" if code < 0x100 else rf"\u{code:04x}" for code in _CONTROLS} | _NAMED
_ALL = str.maketrans(ESCAPES)
_IN_JSON = {code: rf"\u{code:04x}" for code in _CONTROLS if code >= 0x20}


def one_line(text: object) -> str:
    r"""Return text as one line that a terminal shows and does not interpret; lone surrogates are escaped too.

    >>> print(one_line("a\nquality: pass \x1b[2J\u202egol.exe"))
    a\nquality: pass \x1b[2J\u202egol.exe
    """
    return encodable(str(text).translate(_ALL))


def in_json(text: str) -> str:
    r"""Return equivalent JSON without control characters: its strings have escapes for them.

    >>> print(in_json('{"name": "\x9b2J"}'))
    {"name": "\u009b2J"}
    """
    return encodable(text.translate(_IN_JSON))


def encodable(text: str) -> str:
    """Return text with escapes for surrogates, which stand for bytes of a file name that are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()
