"""Raw tables become values, and a wrong key is named with its nearest right one."""

import difflib
from typing import Any

import msgspec

from contracts.quantities import ConfigError


def convert(raw: object, kind: Any, at: str) -> Any:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        raise ConfigError(f"{at}{path.rstrip('`')}: {reason}") from None


def refuse_unknown(raw: object, kind: Any, at: str) -> None:
    """Walks the raw tables beside the types, so that the first wrong key is named with its nearest right one."""
    info = msgspec.inspect.type_info(kind)
    if isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    if not isinstance(raw, dict):
        return
    if isinstance(info, msgspec.inspect.StructType):
        fields = {field.encode_name: field.type for field in info.fields}
        for key, value in raw.items():
            where = f"{at}.{key}" if at else key
            if key not in fields:
                raise ConfigError(f'unknown key "{where}"{nearest(key, fields)}')
            _walk(value, fields[key], where)
    elif isinstance(info, msgspec.inspect.DictType):
        for key, value in raw.items():
            _walk(value, info.value_type, f"{at}.{key}" if at else key)


def _walk(raw: object, info: msgspec.inspect.Type, at: str) -> None:
    if isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    if isinstance(info, msgspec.inspect.StructType):
        refuse_unknown(raw, info.cls, at)
    elif isinstance(info, msgspec.inspect.DictType) and isinstance(raw, dict):
        for key, value in raw.items():
            _walk(value, info.value_type, f"{at}.{key}")


def nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f'; did you mean "{close[0]}"?' if close else f"; known are {', '.join(sorted(known))}"
