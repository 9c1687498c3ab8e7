"""What people perceive of a page, as the browser has worked it out: names, headings, colours, width, and what scripts
have left behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAMED_ROLES = frozenset({
    "button", "link", "textbox", "searchbox", "combobox", "checkbox", "radio", "spinbutton", "listbox", "Date",
    "DisclosureTriangle", "table", "navigation", "search", "region", "img", "image", "Iframe"})


def marks(page: Page) -> list[Any]:
    """What scripts that came as text have left behind, in every frame; empty where none has run."""
    return [mark for frame in page.frames if (mark := frame.evaluate("window.marks ?? null")) is not None]


def nameless(page: Page) -> list[str]:
    """Controls, tables and regions that a screen reader cannot name, as the browser's own accessibility tree has it."""
    session = page.context.new_cdp_session(page)
    session.send("Accessibility.enable")  # else the tree may not be made yet
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    seen = [(node["role"]["value"], node.get("name", {}).get("value", "").strip()) for node in nodes
            if not node["ignored"] and node["role"]["value"] in NAMED_ROLES]
    assert seen, "the page has something to name"
    return [role for role, name in seen if not name]


def headings(page: Page) -> list[int]:
    """The levels of the headings that are shown, in their order."""
    found: list[int] = page.evaluate(
        "[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].filter(e => e.checkVisibility()).map(e => +e.tagName[1])")
    return found


def poor_tables(page: Page) -> list[str]:
    """Tables without a caption and headers without a scope."""
    found: list[str] = page.evaluate("""() => [
        ...[...document.querySelectorAll('table')].filter(e => !e.caption?.textContent.trim()),
        ...[...document.querySelectorAll('th')].filter(e => !e.scope)].map(e => e.outerHTML.slice(0, 200))""")
    return found


def sticks_out(page: Page) -> list[str]:
    """What makes the page wider than its window; empty where nothing does."""
    found: list[str] = page.evaluate("""() => {
        const page = document.scrollingElement;
        if (page.scrollWidth <= page.clientWidth) return [];
        const wide = [...document.body.querySelectorAll('*')]
            .filter(e => e.getBoundingClientRect().right > page.clientWidth + 1).map(e => e.outerHTML.slice(0, 200));
        return wide.length ? wide : [`${page.scrollWidth} px wide`];
    }""")
    return found


def faint(page: Page, *, at_least: float) -> list[str]:
    """Texts that stand out less from what is behind them (contrast ratio of WCAG 2), in the colours as they are now."""
    seen: list[dict[str, Any]] = page.evaluate(CONTRASTS)
    assert seen, "the page shows something"
    return [f"{each['ratio']:.2f}: {each['text']!r}, {each['color']} on {each['behind']}"
            for each in seen if each["ratio"] < at_least]


# Blends colours as the browser paints them, from the page's own background up to the text.
CONTRASTS = r"""() => {
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const parsed = (color) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
        return {rgb: [r, g, b], alpha: a / 255};
    };
    const over = (top, below, alpha) => top.map((value, i) => value * alpha + below[i] * (1 - alpha));
    const behind = (element) => {
        const chain = [];
        for (let e = element; e; e = e.parentElement) chain.unshift(parsed(getComputedStyle(e).backgroundColor));
        const dark = matchMedia('(prefers-color-scheme: dark)').matches;
        return chain.reduce((below, {rgb, alpha}) => over(rgb, below, alpha), dark ? [18, 18, 18] : [255, 255, 255]);
    };
    const light = (rgb) => {
        const [r, g, b] = rgb.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const opacity = (element) => element ? getComputedStyle(element).opacity * opacity(element.parentElement) : 1;
    const found = [];
    const note = (text, element, color) => {
        const below = behind(element), own = parsed(color);
        const shown = over(own.rgb, below, own.alpha * opacity(element));
        const [bright, dim] = [light(shown), light(below)].sort((a, b) => b - a);
        found.push({text: text.trim().slice(0, 60), ratio: (bright + 0.05) / (dim + 0.05),
                    color: shown.map(Math.round).join(' '), behind: below.map(Math.round).join(' ')});
    };
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = texts.nextNode(); node; node = texts.nextNode()) {
        const element = node.parentElement, range = document.createRange();
        range.selectNodeContents(node);
        const box = range.getBoundingClientRect();
        if (!node.data.trim() || box.width < 2 || box.height < 2 || element.closest('.unseen, title, desc, script')
            || !element.checkVisibility({visibilityProperty: true})) continue;
        const style = getComputedStyle(element);
        note(node.data, element, element instanceof SVGElement ? style.fill : style.color);
    }
    for (const element of document.querySelectorAll('input[placeholder]')) {
        if (!element.checkVisibility()) continue;
        note(element.placeholder, element, getComputedStyle(element, '::placeholder').color);
    }
    for (const element of document.querySelectorAll('[data-label]')) {
        const before = getComputedStyle(element, '::before');
        if (element.checkVisibility() && before.content !== 'none') note(element.dataset.label, element, before.color);
    }
    return found;
}"""

# `reached()` notes where Tab has come to, and is false when it is through
STOPS = """() => {
    const usable = [...document.querySelectorAll('a[href], button, input, select, summary, [tabindex="0"]')]
        .filter((e) => !e.disabled && e.type !== 'hidden' && e.checkVisibility({visibilityProperty: true}));
    const seen = new Set();
    window.unframed = [];
    window.reached = () => {
        const here = document.activeElement;
        if (here.type === 'date' && seen.has(here)) return true;  // its parts have frames of the browser's own
        if (here === document.body || seen.has(here)) return false;
        const {outlineStyle, outlineWidth} = getComputedStyle(here);
        if (outlineStyle === 'none' || parseFloat(outlineWidth) < 1) unframed.push(here.outerHTML.slice(0, 200));
        seen.add(here);
        return true;
    };
    window.missed = () => usable.filter((e) => !seen.has(e)).map((e) => e.outerHTML.slice(0, 200));
}"""
