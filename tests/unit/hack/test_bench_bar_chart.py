import xml.etree.ElementTree as ET

from hack.bench.bar_chart import bar_chart

SVG = "{http://www.w3.org/2000/svg}"


def test_bars_are_as_tall_as_their_figures() -> None:
    figures = {"ours": [10.0, 40.0], "<theirs>": [20.0, 30.0]}
    # A string of our own making.
    drawn = ET.fromstring(bar_chart("Tokens", ["1", "8"], figures))  # noqa: S314
    bars = [bar for bar in drawn.iter(f"{SVG}rect") if "height" in bar.attrib]
    heights = [
        float(bar.attrib["height"]) for bar in bars if "." in bar.attrib["height"]
    ]
    tallest = max(heights)
    assert [round(40 * height / tallest) for height in heights] == [10, 40, 20, 30]
    texts = {text.text for text in drawn.iter(f"{SVG}text")}
    assert {"Tokens", "1", "8", "ours", "<theirs>", "10", "40"} <= texts
