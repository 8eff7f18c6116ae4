"""Reports, as a browser shows them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import wasmtime

import wizer
from support.command import WIZER, Ended, Tool
from wizer.pages.document import Document, RunInfo, document
from wizer.pages.page import page as render

from .conftest import Opened

if TYPE_CHECKING:
    from playwright.sync_api import Page

GUEST = """(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 4)
  (global $sp (export "__stack_pointer") (mut i32) (i32.const 66560))
  (global (export "__heap_base") i32 (i32.const 131072)) (global (export "__data_end") i32 (i32.const 70000))
  (global (export "a_table") i32 (i32.const 66570))
  (data $strings (i32.const 66560) "static data of the program, which stays")
  (func (export "wizer-initialize") (local i32)
    (drop (call $random (i32.const 140000) (i32.const 32)))
    (loop (i32.store (i32.add (i32.const 150000) (local.get 0)) (i32.mul (local.get 0) (i32.const 77)))
      (local.set 0 (i32.add (local.get 0) (i32.const 4)))
      (br_if 0 (i32.lt_u (local.get 0) (i32.const 20000))))))"""

HOSTILE = '</script><img src=x onerror="alert(1)"><b>\u202e'
HOSTILE_TEXT = HOSTILE.replace("\u202e", "\\u202e")


def prepared(folder: Path) -> Tool:
    (folder / "guest.wat").write_text(GUEST)
    (folder / "lib.wat").write_text("(module)")
    return Tool(WIZER, folder)


@pytest.fixture
def command(tmp_path: Path) -> Tool:
    return prepared(tmp_path)


def ran(command: Tool, *args: str) -> Ended:
    ended = command(*args)
    assert ended.status in (0, 3), ended.stderr
    return ended


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run of which something is frozen."""
    command = prepared(tmp_path_factory.mktemp("report"))
    ran(command, "--allow-wasi", "--warn-frozen", "--report", "run.html", "guest.wat", "-o", "out.wasm")
    return command.cwd / "run.html"


def shown(page: Page) -> tuple[int, int]:
    """Return what part of memory the map shows."""
    text = page.locator("canvas.view").get_attribute("aria-description") or ""
    first, last = re.findall(r"0x[0-9a-f]+", text)
    return int(first, 16), int(last, 16)


def details(page: Page) -> Mapping[str, str]:
    """Return what is said of the chosen place."""
    names = page.locator("#details dt").all_inner_texts()
    return dict(zip(names, page.locator("#details dd").all_inner_texts(), strict=True))


def eventually(page: Page, condition: Callable[[], bool]) -> None:
    """Wait until something is so: the policy of the page forbids what Playwright waits with."""
    for _ in range(100):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it never was so")


def colors(page: Page) -> set[str]:
    """Return the colours on the map."""
    found: list[str] = page.evaluate("""() => {
      const canvas = document.querySelector("canvas.view");
      const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const found = new Set();
      for (let at = 0; at < data.length; at += 4) found.add([data[at], data[at + 1], data[at + 2]].join());
      return [...found];
    }""")
    return set(found)


def test_a_run_is_shown_with_what_it_did(report: Path, opened: Opened) -> None:
    page = opened(report)
    text = page.locator("main").inner_text()
    size = report.with_name("out.wasm").stat().st_size
    assert page.title() == "guest.wat, initialised"
    assert f"{size / 1024:.1f} KiB" in text
    assert "the output depends on random numbers" in text
    assert "wasi_snapshot_preview1 random_get" in text
    assert page.locator("nav a").all_inner_texts() == [
        "Worth knowing",
        "Memory",
        "Regions",
        "What is frozen",
        "What initialisation changed",
        "The file",
        "The module",
        "The run",
    ]
    differs, frozen, segment, fill = "217,72,15", "179,36,107", "122,91,208", "63,116,232"
    assert {differs, frozen, segment, fill} <= colors(page)


def test_the_map_is_zoomed_and_moved_with_the_mouse(report: Path, opened: Opened) -> None:
    page = opened(report)
    view = page.locator("canvas.view")
    assert shown(page) == (0, 4 << 16)
    view.scroll_into_view_if_needed()
    page.mouse.move(600, 500)
    view.click(position={"x": 600, "y": 60})
    assert "address" in details(page)
    page.mouse.wheel(0, -300)
    eventually(page, lambda: shown(page)[0] > 0)
    first, last = shown(page)
    assert 0 < first < last < 4 << 16
    box = view.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 600, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 60, steps=3)
    page.mouse.up()
    assert shown(page)[0] > first
    assert abs((shown(page)[1] - shown(page)[0]) - (last - first)) <= 1
    page.get_by_role("button", name="Show the whole memory").click()
    assert shown(page) == (0, 4 << 16)


def test_a_page_that_is_scrolled_does_not_zoom_the_map(report: Path, opened: Opened) -> None:
    page = opened(report)
    page.locator("canvas.view").hover()
    page.mouse.wheel(0, 200)
    eventually(page, lambda: bool(page.evaluate("scrollY > 100")))
    assert shown(page) == (0, 4 << 16)


def test_what_is_under_the_mouse_is_named(report: Path, opened: Opened) -> None:
    page = opened(report)
    view = page.locator("canvas.view")
    box = view.bounding_box()
    assert box is not None
    width = box["width"]
    view.hover(position={"x": 155_000 / (4 << 16) * width, "y": 60})
    tip = page.locator(".tip").inner_text()
    assert "heap" in tip
    assert "segment" in tip
    view.hover(position={"x": 66_570 / (4 << 16) * width, "y": 60})
    assert "a_table" in page.locator(".tip").inner_text()
    page.mouse.move(5, 5)
    assert not page.locator(".tip").is_visible()


def test_everything_is_done_without_a_mouse(report: Path, opened: Opened) -> None:
    page = opened(report)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "view":
            break
    page.keyboard.press("Home")
    assert details(page)["address"].startswith("0x0")
    page.keyboard.press("n")  # frozen places go before others
    assert details(page)["address"].startswith("0x222e0")
    assert details(page)["frozen"].startswith("random")
    assert details(page)["region"] == "heap"
    before = shown(page)
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert shown(page)[1] - shown(page)[0] == pytest.approx((before[1] - before[0]) / 4, abs=2)
    page.keyboard.press("ArrowRight")
    assert details(page)["address"] > "0x222e0"
    page.keyboard.press("Escape")
    assert shown(page) == before
    page.keyboard.press("End")
    assert details(page)["address"].startswith("0x3ffff")


def test_names_and_addresses_are_found(report: Path, opened: Opened) -> None:
    page = opened(report)
    search = page.get_by_role("searchbox")
    search.fill("a_tab")
    assert page.locator(".found button").all_inner_texts() == ["a_table\n0x1040a"]
    search.press("Enter")
    assert details(page)["symbol"] == "a_table"
    assert page.evaluate("document.activeElement.className") == "view"
    search.fill("0x24a00")
    search.press("Enter")
    assert details(page)["address"].startswith("0x24a00")
    search.fill("which stays")
    assert page.locator(".found button").count() == 1
    search.fill("no such thing")
    assert page.locator(".found").inner_text() == "Nothing of that name."
    search.press("Escape")
    assert page.locator(".found button").count() == 0
    search.fill("random")
    page.locator(".found button").first.click()
    assert details(page)["frozen"].startswith("random")


def test_places_in_tables_lead_to_the_map(report: Path, opened: Opened) -> None:
    page = opened(report)
    page.get_by_role("button", name='memory 0 ("memory") at').click()
    assert details(page)["frozen"].startswith("random")


def background(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


def test_light_and_dark_follow_the_system_until_one_is_chosen(report: Path, opened: Opened) -> None:
    light, dark = "rgb(246, 247, 249)", "rgb(17, 21, 28)"
    page = opened(report)
    assert background(page) == light
    map_colors = colors(page)
    button = page.get_by_role("button", name="Theme")
    button.click()
    button.click()
    assert background(page) == dark
    page.wait_for_timeout(100)
    assert colors(page) != map_colors
    assert background(opened(report, dark=True)) in (light, dark)
    page.emulate_media(color_scheme="dark")
    button.click()
    assert background(page) == dark


@pytest.mark.parametrize("width", [320, 390, 1200])
def test_nothing_is_wider_than_the_window(report: Path, opened: Opened, width: int) -> None:
    page = opened(report, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_it_is_printed_without_what_only_a_screen_has(report: Path, opened: Opened) -> None:
    page = opened(report, dark=True)
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert not page.get_by_role("searchbox").is_visible()
    assert page.locator("canvas.view").is_visible()
    assert page.pdf().startswith(b"%PDF")


def test_names_of_strangers_are_text(command: Tool, opened: Opened) -> None:
    name = HOSTILE.replace('"', '\\"').replace("\u202e", "\\u{202e}")
    wat = f"""(module (import "env" "{name}" (func)) (memory (export "{name}") 1)
      (global (export "{name}3") i32 (i32.const 40)) (func (export "{name}2"))
      (data (i32.const 32) "{name}") (func (export "wizer-initialize")) (@custom "{name}" "x"))"""
    (command.cwd / "in.wasm").write_bytes(wasmtime.wat2wasm(wat))
    ran(command, "--report", "r.html", "in.wasm", "-o", "out.wasm")
    raw = (command.cwd / "r.html").read_text()
    assert "<img" not in raw
    assert raw.count("</script>") == 2
    page = opened(command.cwd / "r.html")
    assert page.locator("img, main b:not(.card b, .why b)").count() == 0
    assert HOSTILE_TEXT in page.locator("main").inner_text()
    page.get_by_role("searchbox").fill("onerror")
    assert HOSTILE_TEXT in page.locator(".found").inner_text()
    page.locator(".found button").first.click()
    assert HOSTILE_TEXT in page.locator("#details").inner_text()
    page.locator("canvas.view").hover()
    assert page.locator(".tip img").count() == 0


def test_a_hostile_title_is_text(tmp_path: Path, opened: Opened) -> None:
    (tmp_path / "r.html").write_text(render(document("audit", HOSTILE, audit=_nothing_frozen())))
    page = opened(tmp_path / "r.html")
    assert page.title() == HOSTILE
    assert page.locator("img").count() == 0


def _nothing_frozen() -> dict[str, Any]:
    return wizer.audit('(module (func (export "wizer-initialize")))').to_dict()


def test_the_policy_lets_nothing_else_run_and_nothing_be_loaded(report: Path, browser: Any) -> None:
    page = browser.new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri())
    page.wait_for_selector("html[data-ready=true]")
    refused: list[str] = page.evaluate("""async () => {
      const refused = [];
      document.addEventListener("securitypolicyviolation", (event) => refused.push(event.effectiveDirective));
      const script = document.createElement("script");
      script.textContent = "window.ran = true";
      document.body.append(script);
      const image = document.createElement("img");
      image.src = "data:image/gif;base64,R0lGODlhAQABAAAAACw=";
      document.body.append(image);
      const text = '<p onclick="window.ran = true" style="color: red">x</p>';
      document.body.insertAdjacentHTML("beforeend", text);
      document.body.lastChild.click();
      await fetch("https://example.com/").catch(() => 0);
      await new Promise((done) => setTimeout(done, 100));
      return [...refused, String(window.ran)];
    }""")
    page.close()
    kinds = {"script-src-elem", "script-src-attr", "style-src-attr", "img-src", "connect-src"}
    assert set(refused) == {*kinds, "undefined"}
    assert requests == [report.as_uri()]


def test_other_commands_have_reports(command: Tool, opened: Opened) -> None:
    ran(command, "--allow-wasi", "--deterministic", "guest.wat", "-o", "out.wasm")  # no byte is 0 by chance
    ran(command, "inspect", "--report", "inspect.html", "guest.wat", "out.wasm")
    ran(command, "diff", "--report", "diff.html", "guest.wat", "out.wasm")
    ran(command, "diff", "--report", "same.html", "out.wasm", "out.wasm")
    ran(command, "audit", "--allow-wasi", "--report", "audit.html", "guest.wat")
    page = opened(command.cwd / "inspect.html")
    assert page.locator("select option").count() == 2
    page.locator("select").select_option("1")
    assert "out.wasm" in (page.locator("canvas.view").get_attribute("aria-label") or "")
    page = opened(command.cwd / "diff.html")
    page.get_by_role("button", name="heap+0x22e0").first.click()
    assert details(page)["differs"].startswith("32 bytes: ")
    assert "byte for byte the same" in opened(command.cwd / "same.html").locator("main").inner_text()
    page = opened(command.cwd / "audit.html")
    assert page.locator(".card b").last.inner_text() == "random"


def test_an_audit_is_a_page_of_its_own(tmp_path: Path, opened: Opened) -> None:
    found = wizer.audit(GUEST, wasi=wizer.Wasi())
    (tmp_path / "audit.html").write_text(found.to_html())
    page = opened(tmp_path / "audit.html")
    page.locator("canvas.view").press("n")
    assert details(page)["frozen"].startswith("random")


def test_components_show_the_memories_of_the_modules_inside(command: Tool, opened: Opened) -> None:
    module = '(core module $m{0} (memory (export "memory") 1) (data (i32.const 8) "of {0}"))'
    wat = f"(component {module.format('a')} {module.format('b')} (core instance (instantiate $ma)))"
    (command.cwd / "c.wat").write_text(wat)
    ran(command, "inspect", "--report", "c.html", "c.wat")
    page = opened(command.cwd / "c.html")
    assert page.locator("select option").count() == 2


@pytest.fixture
def enormous(tmp_path: Path) -> Path:
    """A page of a memory of 4 GiB with a hundred thousand segments and ten thousand symbols."""
    inspection = wizer.inspect('(module (memory 65536) (data (i32.const 8) "x"))').to_dict()
    module: Any = inspection["module"]
    (segment,) = module["segments"]
    module["segments"] = [
        {**segment, "index": n, "offset": n * 42_949, "size": 100 + n % 1000} for n in range(100_000)
    ]
    module["memories"][0]["symbols"] = [
        {"name": f"symbol_{n}", "start": n * 429_490, "end": n * 429_490 + 4000} for n in range(10_000)
    ]
    module["memories"][0]["density"] = [n * 97 % 4096 for n in range(4096)]
    path = tmp_path / "enormous.html"
    path.write_text(render(document("inspect", "enormous", [inspection])))
    return path


def test_a_hundred_thousand_segments_in_4_gib_are_shown_and_found(enormous: Path, opened: Opened) -> None:
    assert enormous.stat().st_size <= 2_000_000
    page = opened(enormous)
    assert shown(page) == (0, 1 << 32)
    page.get_by_role("searchbox").fill("symbol_9999")
    page.get_by_role("searchbox").press("Enter")
    assert details(page)["symbol"] == "symbol_9999"
    assert details(page)["segment"].startswith("99990: ")
    page.keyboard.press("n")
    assert details(page)["segment"].startswith("99991: ")
    for _ in range(12):
        page.keyboard.press("+")
    assert shown(page)[1] - shown(page)[0] <= 1024


def test_a_report_as_json_is_what_the_page_is_made_of(command: Tool) -> None:
    ran(command, "--allow-wasi", "--warn-frozen", "--report", "r.json", "guest.wat", "-o", "out.wasm")
    made = json.loads((command.cwd / "r.json").read_text())
    assert list(made) == list(Document.__annotations__)
    assert list(made["run"]) == list(RunInfo.__annotations__)
    assert (made["format"], made["wizer"], made["kind"]) == (1, wizer.__version__, "run")
    assert made["files"][1] == {**wizer.inspect(command.cwd / "out.wasm").to_dict(), "name": "out.wasm"}
    assert made["diff"]["identical"] is False
    assert made["audit"]["frozen"] == ["random"]
    assert made["run"]["calls"] == [{"module": "wasi_snapshot_preview1", "name": "random_get", "count": 1}]
    assert made["run"]["files"] == ["guest.wat"]
    assert sum(made["run"]["seconds"].values()) > 0


def test_a_report_says_by_its_name_what_it_is(command: Tool) -> None:
    for words in ("guest.wat -o x", "inspect lib.wat", "diff lib.wat lib.wat", "audit lib.wat"):
        ended = command(*words.split(), "--report", "report.txt")
        assert ended.status == 2
        assert "must end in .html or .json" in ended.stderr
    ended = command("--allow-wasi", "guest.wat", "-o", "x", "--report", "none/r.html")
    assert ended.status == 4
    assert not (command.cwd / "x").exists()
