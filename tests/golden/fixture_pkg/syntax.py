"""Every kind of syntax of the oldest supported Python, and everything in it counts."""

import asyncio
from abc import ABCMeta
from contextlib import suppress

TABLE = {"a": 1, **{"b": 0x10}, "c": [2.5, 1e-9, 3j, b"\x00x", None, True, ..., "\N{BULLET}é"]}
TABLE["d"] = TABLE["a"] << 2
BIG, (SMALL, *REST) = 10**30, (-1, 2, 3)


def strings(x, w, p):
    return (f"{x!r:>{w}.{p}}ab{x}c{{}}", f"{x=}", f"{x:%Y}", rf"\d{x['k']}", f"{x:}" + "t")


def parameters(a, /, b=1, *args, c, d=TABLE, **rest):
    return lambda e, *, f=2: (a, b, args, c, d, rest, e, f)


def flow(items, limit):
    total = 0
    for item in items:
        if item is None or not limit > 0:
            continue
        elif 0 < item <= 10 and item not in REST:
            total += item
        else:
            break
    else:
        total -= 1
    while (half := total // 2) > limit:
        total = half if half % 2 else ~half
    assert total >= 0, "too small"
    del items[0:1:2]
    return total


def comprehensions(rows):
    flat = [x @ y for x, y in rows if x if y]
    return {x: -y for x, y in flat}, {+x for x in flat}, sum(x for x in flat), flat[-1:]


def matching(value):
    match value:
        case {"kind": "a" | "b" as kind, **rest} if rest:
            return kind
        case [first, *_, complex(real=1.5) as last]:
            return first, last
        case None | False | -1:
            return 0
        case str():
            return TABLE.get
        case _:
            return value


async def waiting(source):
    async with source as (a, b), a:
        async for item in b:
            yield await asyncio.sleep(0, item)
    _ = [item async for item in source]


def failing(f):
    count = 0

    def inner():
        nonlocal count
        count += 1
        try:
            with suppress(KeyError):
                return f(*REST, **TABLE)
        except (TypeError, ValueError) as error:
            raise RuntimeError("no") from error
        else:
            yield from count
        finally:
            print(end="")

    try:
        return inner
    except* OSError:
        pass


class Thing(dict, metaclass=ABCMeta):
    size: int
    shape: tuple[int, str] = (1, "x")

    @property
    def area(self):
        return super().get("area", self.size)
