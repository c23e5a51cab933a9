"""JSON that is damaged at random, byte by byte or value by value."""

import json

from auxo.errors import AuxoError

STRANGE = [
    *("null", "true", "0", "-1", "1.5", "NaN", "-Infinity", '""', '"x"', "[]", "[1]", "{}", '{"a": 1}', "1e999"),
    *("1" * 25, "1" * 5000, "[" * 90 + "]" * 90, "[" * 200_000, '"\\ud800"', '"\\u0000"', '"/"', '"~nobody/x"'),
]


def places(value, path=()):
    """Yield the way to everything in a value from JSON."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def spoil_value(text, draws):
    """Return JSON with a strange value in the place of one of its own, or without it."""
    value = json.loads(text)
    path = draws.choice([*places(value)])
    if not path:
        return draws.choice(STRANGE)
    holder = value
    for step in path[:-1]:
        holder = holder[step]
    if isinstance(holder, dict) and draws.random() < 0.2:
        del holder[path[-1]]
        return json.dumps(value)
    holder[path[-1]] = "\x00here\x00"
    return json.dumps(value).replace(json.dumps("\x00here\x00"), draws.choice(STRANGE), 1)


def spoil_bytes(text, draws):
    """Return JSON with some bytes changed, or cut short."""
    content = bytearray(text.encode())
    for _ in range(draws.randint(1, 3)):
        content[draws.randrange(len(content))] = draws.randrange(256)
    return bytes(content[: draws.randint(1, len(content))] if draws.random() < 0.2 else content)


def complaint_of(read, *words):
    """What a reader says of a file that it refuses; nothing where it reads it. Any other error is passed on."""
    try:
        read(*words)
    except AuxoError as error:
        return str(error)
    return ""


def check_complaints(complaints, *, least):
    """Check that files were refused, some of them at least, and each in one short line."""
    refused = [said for said in complaints if said]
    assert len(refused) >= least
    assert [said for said in refused if len(said.splitlines()) != 1 or len(said) >= 2000] == []
