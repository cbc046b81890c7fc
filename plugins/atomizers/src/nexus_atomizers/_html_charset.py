"""The characters of an HTML file: UTF-8, else what the file itself declares."""

from __future__ import annotations

import re
from typing import Final

from nexus_atomizers._source import decode
from nexus_core.spi import InvalidArgumentError

# A declaration counts only at the beginning of a file, by the standard.
_PRESCAN_BYTES: Final = 1024
_DECLARED: Final = re.compile(
    rb"<meta[\t\n\f\r /][^>]*?charset[\t\n\f\r ]*=[\t\n\f\r ]*[\"']?[\t\n\f\r ]*([A-Za-z0-9._:-]+)",
    re.IGNORECASE,
)
_LATIN_1: Final = ("ascii", "us-ascii", "iso-8859-1", "iso8859-1", "latin1")
# What the standard means by these names; no other name is tried on an unknown codec.
_CODECS: Final = {
    **{f"iso-8859-{part}": f"iso8859_{part}" for part in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)},
    **{f"windows-{page}": f"cp{page}" for page in range(1250, 1259)},
    **dict.fromkeys(_LATIN_1, "cp1252"),
    "big5": "big5hkscs",
    "euc-jp": "euc_jp",
    "euc-kr": "cp949",
    "gb2312": "gbk",
    "gbk": "gbk",
    "iso-8859-9": "cp1254",
    **dict.fromkeys(("iso-8859-11", "tis-620", "windows-874"), "cp874"),
    "koi8-r": "koi8_r",
    "koi8-u": "koi8_u",
    "shift_jis": "cp932",
    "windows-31j": "cp932",
}


def decoded(data: bytes) -> str:
    """Return the text of an HTML file. What is UTF-8 is read as such, whatever it declares.

    Raises ``InvalidArgumentError`` with the offset of a byte that does not decode.
    """
    try:
        return decode(data)
    except InvalidArgumentError:
        declared = _DECLARED.search(data, 0, _PRESCAN_BYTES)
        codec = _CODECS.get(declared[1].decode("ascii").lower()) if declared else None
        if codec is None or b"\0" in data:
            raise
    try:
        return data.decode(codec)
    except UnicodeDecodeError as error:
        offset = error.start
    raise InvalidArgumentError(
        f"the file is not in the charset that it declares: byte {offset} does not decode",
        hint="convert it to UTF-8 before it is stored",
    )
