"""Charts as SVG that a page can hold: drawn by pygal, without its scripts and styles, which our own pages do not allow.

Each is drawn twice, for a wide and for a narrow screen; the style sheet shows one. What it says stands in a table
beside it as well. Colours are the style sheet's, and no colour tells anything alone.
"""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from markupsafe import Markup

_BROAD: Final = (760, 260)
_SLIM: Final = (330, 230)
_ROW: Final = 34
_MOST_TICKS: Final = 5
_CAP_IN_SIGHT: Final = 4
"""A cap of more than so many times the longest bar would leave the bars too short to be read."""
_LABELLED: Final = {_BROAD: 12, _SLIM: 6}
"""At most how many bars have room for an amount above each."""
_NAMED: Final = {_BROAD: 10, _SLIM: 5}
"""At most how many have room for a name below."""
_LETTER: Final = {_BROAD: 7.0, _SLIM: 6.5}
"""How wide a letter of a label is, at most."""
_LONGEST_NAME: Final = {_BROAD: 34, _SLIM: 16}
_GAP = 5
_WIDEST_BAR: Final = 90.0
_NEVER: Final = -1
"""An amount that is no line's; of an empty list pygal takes every one for a major one."""
_FLOAT = re.compile(r"-?[0-9]+\.[0-9]{2,}")


@dataclass(frozen=True)
class Bar:
    """One bar: what is certain, and what is not, on top of it; in cents.

    `name` stands below it where there is room, and `told` is all that is to be said of it.
    """

    name: str
    certain: int
    uncertain: int
    amount: str
    told: str


@dataclass(frozen=True)
class Chart:
    """A chart for either width, to be put into a page as it is."""

    broad: "Markup"
    slim: "Markup"


@dataclass(frozen=True)
class Words:
    """What a screen reader says of a chart: its name, and what it shows in a sentence."""

    title: str
    description: str


def is_in_sight(cap_cents: int | None, bars: Sequence[Bar]) -> bool:
    """Whether a cap can be drawn with these bars so that both are read."""
    highest = _highest(bars)
    return cap_cents is not None and highest > 0 and cap_cents <= highest * _CAP_IN_SIGHT


def upright(name: str, words: Words, bars: Sequence[Bar], *, cap_cents: int | None = None, cap: str = "") -> Chart:
    """Draw bars side by side, in the order of time.

    Args:
        name: Of the chart within its page.
        words: What it shows.
        bars: At least one.
        cap_cents: A line across, if it is in sight.
        cap: What that is called.
    """
    line = cap_cents if is_in_sight(cap_cents, bars) else None
    return _both(lambda size: _upright(f"{name}-{_suffix(size)}", words, bars, size, line, cap if line else ""))


def lying(name: str, words: Words, bars: Sequence[Bar]) -> Chart:
    """Draw bars one below the other, each with its name before it and its amount behind it.

    Args:
        name: Of the chart within its page.
        words: What it shows.
        bars: At least one, the first on top.
    """
    return _both(lambda size: _lying(f"{name}-{_suffix(size)}", words, bars, size))


def ticks(highest: int) -> tuple[int, ...]:
    """Return round amounts from 0 to at least the highest, in cents."""
    step = next(
        factor * 10**power
        for power in range(1, 20)
        for factor in (1, 2, 5)
        if highest <= factor * 10**power * (_MOST_TICKS - 1)
    )
    return tuple(range(0, max(highest, 1) + step, step)[: -(-max(highest, 1) // step) + 1])


def _upright(
    name: str, words: Words, bars: Sequence[Bar], size: tuple[int, int], cap_cents: int | None, cap: str
) -> "Markup":
    steps = [cents for cents in ticks(max(_highest(bars), cap_cents or 0)) if not _collides(cents, cap_cents, bars)]
    chart = _pygal().StackedBar(**_common(size, 12), range=(0, max(*steps, cap_cents or 0)), truncate_label=-1)
    chart.x_labels = [bar.name for bar in bars]
    every = -(-len(bars) // _NAMED[size])
    chart.x_labels_major = [bar.name for bar in bars[::-1][::every]]
    chart.show_minor_x_labels = False
    chart.y_labels = [{"label": _units(cents), "value": cents} for cents in steps]
    if cap_cents is not None:
        chart.y_labels.append({"label": _units(cap_cents), "value": cap_cents})
    chart.y_labels_major = [_NEVER if cap_cents is None else cap_cents]
    chart.add("certain", [bar.certain for bar in bars])
    chart.add("uncertain", [bar.uncertain for bar in bars])
    labelled = set(range(len(bars))) if len(bars) <= _LABELLED[size] else set[int]()
    return _drawn(chart, partial(_finished, name, words, bars, labelled, cap))


def _lying(name: str, words: Words, bars: Sequence[Bar], size: tuple[int, int]) -> "Markup":
    longest = _LONGEST_NAME[size]
    names = [bar.name if len(bar.name) <= longest else f"{bar.name[: longest - 1]}…" for bar in bars]
    room = max(len(bar.amount) for bar in bars) * _LETTER[size] + 2 * _GAP
    common = _common((size[0], len(bars) * _ROW), 14 if size == _BROAD else 12) | {"margin_top": 0}
    chart = _pygal().HorizontalStackedBar(
        **common, range=(0, max(_highest(bars), 1)), show_x_labels=False, margin_right=int(room), truncate_label=-1
    )
    chart.x_labels = names[::-1]  # the first stands below
    chart.y_labels = [0]
    chart.add("certain", [bar.certain for bar in bars[::-1]])
    chart.add("uncertain", [bar.uncertain for bar in bars[::-1]])
    return _drawn(chart, partial(_finished, name, words, bars[::-1], set(range(len(bars))), ""))


@cache
def _pygal() -> Any:  # noqa: ANN401 - it tells no types
    import pygal  # type: ignore[import-untyped]  # noqa: PLC0415 - until a chart is drawn, nothing needs it

    # It would look for maps, of which we draw none, at every later import, and warn that it is of an old kind.
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != pygal.__name__]
    return pygal


def _common(size: tuple[int, int], letters: int) -> dict[str, Any]:
    return {
        "style": _pygal().style.Style(label_font_size=letters, major_label_font_size=letters),
        "width": size[0],
        "height": size[1],
        "js": (),
        "css": (),
        "show_legend": False,
        "no_prefix": True,
        "disable_xml_declaration": True,
        "margin": 4,
        "margin_top": 18,
        "spacing": 2,
    }


def _collides(cents: int, cap_cents: int | None, bars: Sequence[Bar]) -> bool:
    """Whether the amount at a line would be written over that of the cap."""
    return cap_cents is not None and abs(cents - cap_cents) < max(_highest(bars), cap_cents) * 0.07


def _drawn(chart: Any, finish: Callable[[Any], Any]) -> "Markup":  # noqa: ANN401 - pygal tells no types
    from markupsafe import Markup  # noqa: PLC0415 - comes with Jinja2

    chart.add_xml_filter(finish)
    return Markup(chart.render(is_unicode=True))  # noqa: S704 - an XML writer has escaped all text in it


def _finished(name: str, words: Words, bars: Sequence[Bar], labelled: set[int], cap: str, root: Any) -> Any:  # noqa: ANN401
    """Take out of a chart of pygal's what our pages do not allow or show, and put in what it says."""
    _without(root, {"script", "style", "desc", "title"}, {"background", "tooltip-overlay", "titles", "overlay"})
    root.attrib.update({"class": f"chart {name.rpartition('-')[2]}", "role": "img", "id": name})
    root.attrib["aria-labelledby"] = f"{name}-title {name}-words"
    root.insert(0, _made(root, "title", words.title, id=f"{name}-title"))
    root.insert(1, _made(root, "desc", words.description, id=f"{name}-words"))
    root.find("defs").append(_stripes(root, f"{name}-stripes"))
    lies = root.find("g").get("class", "").endswith("horizontal")
    for at, bar in enumerate(bars):
        certain, uncertain = (each.findall("g/g")[at] for each in _series(root))
        certain.attrib["class"], uncertain.attrib["class"] = "bar certain", "bar uncertain"
        uncertain.find("rect").attrib["fill"] = f"url(#{name}-stripes)"
        if not lies:
            for piece in (certain, uncertain):
                _narrow(piece.find("rect"))
        if at in labelled:
            certain.append(_amount(root, [certain.find("rect"), uncertain.find("rect")], bar.amount, lies=lies))
        for piece in (certain, uncertain):
            piece.append(_made(root, "title", bar.told))
            rect = piece.find("rect")
            if min(_number(rect, "width"), _number(rect, "height")) < 0.05:  # noqa: PLR2004 - nothing to see
                piece.remove(rect)
    if cap:
        _name_cap(root, cap)
    for each in root.iter():
        for attribute in {"x", "y", "width", "height", "d"} & each.attrib.keys():
            each.attrib[attribute] = _FLOAT.sub(lambda found: f"{float(found[0]):.1f}", each.attrib[attribute])
    return root


def _narrow(rect: Any) -> None:  # noqa: ANN401
    """Make an upright bar no wider than a bar looks; few of them would fill the chart."""
    x, width = _number(rect, "x"), _number(rect, "width")
    kept = min(width, _WIDEST_BAR)
    rect.attrib.update({"x": str(x + (width - kept) / 2), "width": str(kept)})


def _series(root: Any) -> list[Any]:  # noqa: ANN401
    """Return what holds the bars: first what is certain of each, then what is not."""
    return [each for each in root.iter("g") if "series" in each.get("class", "") and each.find("g") is not None]


def _stripes(root: Any, name: str) -> Any:  # noqa: ANN401
    """Make the pattern of what is not certain."""
    pattern = _made(root, "pattern", id=name, width="6", height="6", patternUnits="userSpaceOnUse")
    pattern.attrib["patternTransform"] = "rotate(45)"
    pattern.append(_made(root, "rect", width="6", height="6"))
    pattern.append(_made(root, "path", d="M1.5 0V6"))
    return pattern


def _name_cap(root: Any, cap: str) -> None:  # noqa: ANN401
    """Write what a cap is called at the end of its line, above it."""
    lines = (each for each in root.iter("path") if "h" in each.get("d"))  # those across
    line = next((each for each in lines if "major" in each.get("class", "").split()), None)
    if line is not None:
        y, width = re.findall(r"M\S+ (\S+) h(\S+)", line.get("d"))[0]
        label = _made(root, "text", cap, x=width, y=str(float(y) - _GAP))
        label.attrib["class"] = "cap"
        _series(root)[-1].append(label)


def _amount(root: Any, rects: Sequence[Any], amount: str, *, lies: bool) -> Any:  # noqa: ANN401
    """Make the text behind a bar, or above it."""
    if lies:
        x = max(_number(rect, "x") + _number(rect, "width") for rect in rects) + _GAP
        text = _made(
            root, "text", amount, x=str(x), y=str(_number(rects[0], "y") + _number(rects[0], "height") / 2 + 4)
        )
    else:
        x = _number(rects[0], "x") + _number(rects[0], "width") / 2
        text = _made(root, "text", amount, x=str(x), y=str(min(_number(rect, "y") for rect in rects) - _GAP))
    text.attrib["class"] = "amount"
    return text


def _number(rect: Any, name: str) -> float:  # noqa: ANN401
    return float(rect.get(name) or 0)


def _made(root: Any, tag: str, text: str | None = None, /, **attributes: str) -> Any:  # noqa: ANN401
    made = root.makeelement(tag, attributes)
    made.text = text
    return made


def _without(root: Any, tags: set[str], classes: set[str]) -> None:  # noqa: ANN401
    """Take out elements of some tags and classes, and comments."""
    for parent in list(root.iter()):
        for each in list(parent):
            is_comment = not isinstance(each.tag, str)
            if is_comment or each.tag in tags or classes & set(each.get("class", "").split()):
                parent.remove(each)
            else:
                each.attrib.pop("style", None)
                each.attrib.pop("id", None)


def _units(cents: int) -> str:
    """Write an amount beside an axis, where its currency stands elsewhere."""
    return f"{cents // 100:,}" if cents % 100 == 0 else f"{cents / 100:,.2f}"


def _both(draw: Callable[[tuple[int, int]], "Markup"]) -> Chart:
    return Chart(draw(_BROAD), draw(_SLIM))


def _suffix(size: tuple[int, int]) -> str:
    return "broad" if size == _BROAD else "slim"


def _highest(bars: Iterable[Bar]) -> int:
    return max(bar.certain + bar.uncertain for bar in bars)
