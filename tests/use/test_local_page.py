"""The page for a first look: what the server answers and refuses, and how the page behaves in a browser."""

import http.client
import io
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image

from facemix import cli
from facemix.errors import FacemixError
from facemix.faces import schemes
from facemix.faces.images import check_inside
from facemix.stages import serve as stage
from facemix.use import page, uploads

SCHEME = schemes.load("five")
WIDTH, HEIGHT = 320, 240
FOUND = np.array([[40.0, 40, 120, 140], [180.0, 60, 240, 130]])
"""Boxes of the stand-in's two faces."""


class StandIn:
    """A detector whose points, errors and visibility follow from the box."""

    scheme = SCHEME
    radius = {0.9: 2.0}  # noqa: RUF012

    def __init__(self, finds: bool = True) -> None:
        self.finder = {"name": "blazeface"} if finds else None
        self.last = np.zeros((0, 0, 3), np.uint8)
        """The last picture."""

    def predict(self, image: np.ndarray, boxes: np.ndarray) -> Any:
        check_inside(Path("image"), image, boxes)
        self.last = image
        at = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
        points = boxes[:, None, :2] + at * (boxes[:, None, 2:] - boxes[:, None, :2])
        side = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True)
        errors = side * [0.005, 0.015, 0.03, 0.06, np.nan]
        visible = np.tile([1.0, 0.9, 0.2, 0.8, np.nan], (len(boxes), 1))
        scores = np.full(len(boxes), np.nan)
        return SimpleNamespace(boxes=boxes, points=points, errors=errors, visible=visible, scores=scores)

    def find(self, image: np.ndarray) -> Any:
        if self.finder is None:
            raise FacemixError("this model has no face finder: boxes are needed")
        faces = self.predict(image, FOUND)
        faces.scores = np.array([0.9, 0.8])
        return faces


def serving(detector: Any) -> Iterator[int]:
    """The port of a server in a thread."""
    with stage.listen("127.0.0.1", 0) as listening:
        inner = page.app(detector, "models/mixing/seed-0", stage.names_of("127.0.0.1"))
        server = stage.server(inner)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


DETECTOR = StandIn()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    yield from serving(DETECTOR)


@pytest.fixture(scope="module")
def port_without_finder() -> Iterator[int]:
    yield from serving(StandIn(finds=False))


def encoded(kind: str, size: tuple[int, int] = (WIDTH, HEIGHT), **options: Any) -> bytes:
    file = io.BytesIO()
    picture().resize(size).save(file, kind, **options)
    return file.getvalue()


def picture() -> Image.Image:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return Image.fromarray(np.stack([x % 256, y, (x + y) % 256], axis=-1).astype(np.uint8))


def ask(
    port: int, body: Any = None, query: str = "", path: str = "/faces", method: str = "POST", **headers: str
) -> tuple[int, Any, dict[str, str]]:
    given = {"Content-Type": "image/png"} | {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request(method, path + query, body, given)
        with connection.getresponse() as answer:
            content = answer.read()
            is_json = answer.getheader("content-type") == "application/json"
            return answer.status, json.loads(content) if is_json else content, dict(answer.getheaders())


def test_faces_are_found_and_what_is_not_known_is_null(port: int) -> None:
    status, said, _ = ask(port, encoded("PNG"))
    assert (status, said["width"], said["height"]) == (200, WIDTH, HEIGHT)
    assert said["boxes"] == FOUND.tolist() and said["scores"] == [0.9, 0.8]
    assert np.shape(said["landmarks"]) == (2, 5, 2)
    assert said["errors"][0] == [0.5, 1.5, 3.0, 6.0, None] and said["visible"][0][-1] is None
    assert set(said["ms"]) == {"decode", "faces"}
    assert np.array_equal(DETECTOR.last, np.array(picture()))


TWO = {"save_all": True, "append_images": [Image.new("RGB", (WIDTH, HEIGHT))]}


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {}), ("PNG", {}), ("WEBP", {}), ("MPO", TWO)])
def test_pictures_of_each_kind_are_read(port: int, kind: str, options: dict[str, Any]) -> None:
    assert ask(port, encoded(kind, **options), Content_Type=f"image/{kind.lower()}")[0] == 200


def test_given_boxes_are_used(port: int, port_without_finder: int) -> None:
    for one in (port, port_without_finder):
        status, said, _ = ask(one, encoded("PNG"), "?boxes=[[10,20,50,60]]")
        assert (status, said["boxes"], said["scores"]) == (200, [[10, 20, 50, 60]], [None])
    assert ask(port, encoded("PNG"), "?boxes=[]")[1]["landmarks"] == []


def test_a_model_without_finder_asks_for_boxes(port_without_finder: int) -> None:
    assert ask(port_without_finder, encoded("PNG"))[:2] == (
        400,
        {"detail": "this model has no face finder: boxes are needed"},
    )
    assert ask(port_without_finder, path="/model", method="GET")[1]["finds"] is False


@pytest.mark.parametrize(
    ("body", "query", "status", "message"),
    [
        (b"", "", 400, "0 bytes, expected a JPEG, PNG or WebP picture"),
        (b"<svg></svg>", "", 415, "not an image that can be read, expected a JPEG, PNG or WebP picture"),
        (encoded("GIF"), "", 415, "found a GIF, expected a JPEG, PNG or WebP"),
        (
            encoded("PNG", **TWO),
            "",
            415,
            "found an animated PNG, expected a JPEG, PNG or WebP picture that is still",
        ),
        (encoded("WEBP", **TWO), "", 415, "found an animated WEBP"),
        (encoded("PNG")[:-40], "", 400, "cut off"),
        (encoded("PNG").replace(b"IEND", b"IENE"), "", 400, "damaged: the checksum of its part IENE is wrong"),
        (encoded("PNG"), "?boxes=[[1,2,3]]", 400, "boxes: found [[1, 2, 3]], expected a list of [x0, y0, x1, y1]"),
        (encoded("PNG"), "?boxes=[[5,5,1,9]]", 400, "with x0 < x1 and y0 < y1"),
        (encoded("PNG"), "?boxes=[[NaN,5,1,9]]", 400, "expected a list"),
        (encoded("PNG"), "?boxes=x", 400, "boxes: found x, expected a list"),
        (encoded("PNG"), "?boxes=3", 400, "boxes: found 3, expected a list"),
        (encoded("PNG"), "?boxes=" + "[" * 9000, 400, "boxes: found [[["),
        (encoded("PNG"), "?boxes=" + "1" * 10001, 400, "found 10001 characters, expected at most 10000"),
        (encoded("PNG"), "?boxes=[[900,5,910,9]]", 400, "the box 900,5,910,9 lies outside the picture of 320 x 240"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_was_found(
    port: int, body: bytes, query: str, status: int, message: str
) -> None:
    found, said, _ = ask(port, body, query)
    assert found == status and list(said) == ["detail"] and message in said["detail"]


@pytest.mark.parametrize("size", [1.5, 4, 40])
@pytest.mark.parametrize("in_parts", [False, True])
def test_a_file_is_limited_with_and_without_its_length(
    port: int, in_parts: bool, size: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MEGABYTES", 1)
    monkeypatch.setattr(uploads, "decode", lambda *_: pytest.fail("decoded"))
    part = b"x" * 100_000
    body = (part for _ in range(round(10 * size))) if in_parts else part * round(10 * size)
    try:
        status, said, _ = ask(port, body)
    except ConnectionError:
        assert size > page.PATIENCE  # cut off
    else:
        assert status == 413 and re.fullmatch(r"the picture: found .* MB, expected at most 1 MB and .*", said["detail"])


def test_a_picture_of_many_pixels_is_refused_before_it_is_decoded(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads.images, "decode", lambda *_: pytest.fail("decoded"))
    monkeypatch.setattr(uploads, "MEGAPIXELS", 0.05)
    status, said, _ = ask(port, encoded("PNG"))
    assert status == 413 and "found 320 x 240 pixels (0 megapixels), expected at most 20 MB and 0.05" in said["detail"]
    monkeypatch.setattr(uploads.Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow's own limit does not come before ours
    assert "over 0 megapixels" in ask(port, encoded("PNG"))[1]["detail"]


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"])
def test_what_a_form_of_another_site_can_send_is_refused(port: int, kind: str) -> None:
    status, said, _ = ask(port, encoded("PNG"), Content_Type=kind)
    assert status == 415 and f"found {kind}, expected the picture's file as the body" in said["detail"]


@pytest.mark.parametrize(("host", "status"), [("localhost:1", 200), ("[::1]", 200), ("evil.example", 400), ("", 400)])
def test_a_name_that_leads_here_from_elsewhere_is_refused(port: int, host: str, status: int) -> None:
    found, said, _ = ask(port, path="/model", method="GET", Host=host)
    assert found == status
    assert status == 200 or f"Host: found {host!r}, expected one of 127.0.0.1, [::1], localhost" in said["detail"]


def test_everything_is_answered_in_json_and_under_the_policy(port: int) -> None:
    for path, method, status in (("/", "GET", 200), ("/no", "GET", 404), ("/faces", "GET", 405), ("/docs", "GET", 404)):
        found, said, headers = ask(port, path=path, method=method)
        assert found == status and (status == 200 or list(said) == ["detail"])
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'sha256-")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
        assert not [name for name in headers if name.startswith("access-control")]


def test_the_page_names_nothing_elsewhere() -> None:
    text = (Path(page.__file__).parent / "page.html").read_text(encoding="utf-8")
    assert not re.search(r"\b(src|srcset)=|url\(|@import|https?://(?!127\.0\.0\.1)", text)
    assert set(re.findall(r"href=\"([^\"]*)\"", text)) == {"data:,"}


# --- The command ------------------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=f"127.0.0.1, port {port}: cannot be listened to .*give another --port"):
            cli.main(["serve", "models/none", "--port", str(port)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "70000"], "--port: found 70000, expected a number from 0 to 65535"),
        (["--host", "192.0.2.1"], "192.0.2.1, port 8000: cannot be listened to"),
        (["--host", "no such host"], "no such host, port 8000: cannot be listened to"),
    ],
)
def test_a_host_or_port_that_is_none_is_named(arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=re.escape(message)):
        cli.main(["serve", "models/none", *arguments])


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("127.0.0.1", {"127.0.0.1", "[::1]", "localhost"}),
        ("localhost", {"127.0.0.1", "[::1]", "localhost"}),
        ("127.0.0.2", {"127.0.0.1", "127.0.0.2", "[::1]", "localhost"}),
        ("::1", {"127.0.0.1", "[::1]", "localhost"}),
        ("0.0.0.0", None),
        ("::", None),
        ("example.org", None),
    ],
)
def test_only_a_host_of_this_machine_alone_has_names(host: str, names: set[str] | None) -> None:
    assert stage.names_of(host) == names


def stand_in_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are not read."""
    monkeypatch.setitem(sys.modules, "facemix.use.detector", SimpleNamespace(Detector=Loader))


class Loader:
    @staticmethod
    def load(path: Path) -> StandIn:
        return StandIn()


def test_a_host_that_others_reach_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in_for(monkeypatch)
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_, **__: None)
    for host, warned in (("127.0.0.1", False), ("0.0.0.0", True)):
        cli.main(["serve", "models/mixing/seed-0", "--port", "0", "--host", host])
        printed = capsys.readouterr()
        assert re.fullmatch(rf"models/mixing/seed-0: http://{host}:[1-9]\d*/  \(Ctrl-C ends it\)\n", printed.out)
        assert (f"--host {host} lets everybody" in printed.err) == warned


COMMAND = """
import sys
import test_local_page
from facemix import cli
sys.modules["facemix.use.detector"] = test_local_page.SimpleNamespace(Detector=test_local_page.Loader)
try:
    cli.main(["serve", "models/mixing/seed-0", "--port", "0"])
finally:
    assert "torch" not in sys.modules
"""


def test_ctrl_c_ends_it_quietly_and_torch_is_not_waited_for() -> None:
    folder = Path(__file__).parent
    command = subprocess.Popen(
        [sys.executable, "-c", COMMAND], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    )
    with command:
        assert command.stdout is not None
        address = re.search(r":(\d+)/", command.stdout.readline())
        assert address is not None
        assert ask(int(address[1]), encoded("PNG"))[0] == 200
        command.send_signal(signal.SIGINT)
        said, wrong = command.communicate(timeout=20)
    assert (command.returncode, said, wrong) == (130, "", "")


# --- In a browser -----------------------------------------------------------------------------------------------------


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """A headless Chromium with a camera that shows a test picture, and downloads in `tmp_path`."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no browser: needs chromium or google-chrome, and chromedriver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path)})
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"):
        options.add_argument(f"--{argument}")
    for argument in ("use-fake-device-for-media-stream", "use-fake-ui-for-media-stream"):
        options.add_argument(f"--{argument}")
    found = webdriver.Chrome(options, Service(driver))
    yield found
    found.quit()


def until(condition: Any) -> Any:
    end = time.monotonic() + 20
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def test_the_page_works_in_a_browser(port: int, port_without_finder: int, browser: Any, tmp_path: Path) -> None:
    from axe_core_python.selenium import Axe
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    def at(name: str) -> Any:
        return browser.find_element(By.ID, name)

    def choose(content: bytes) -> None:
        (tmp_path / "face.png").write_bytes(content)
        at("file").send_keys(str(tmp_path / "face.png"))

    def lit(x: float, y: float) -> list[int]:
        """The colour that the canvas shows at a point of the picture."""
        script = """
        const ratio = canvas.width / picture.width, [x, y] = arguments;
        return [...pen.getImageData((x + 0.5) * ratio, (y + 0.5) * ratio, 1, 1).data.slice(0, 3)];
        """
        return browser.execute_script(script, x, y)

    # A picture, its points where they belong in the colours of their errors, and the same as a file.
    browser.get(f"http://127.0.0.1:{port}/")
    until(lambda: "5 points of the scheme five" in at("model").text)
    choose(encoded("PNG"))
    until(lambda: at("said").text.startswith("2 faces in "))
    assert [item.text for item in browser.find_elements(By.TAG_NAME, "li")] == [
        f"{step}: 2 points" for step in ("under 1 %", "1 to 2 %", "2 to 4 %", "over 4 %", "not known")
    ]
    landmarks = DETECTOR.find(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).points[0]
    colours = {0: (44, 123, 182), 1: (171, 217, 233), 3: (215, 25, 28), 4: (200, 200, 200)}
    assert {k: tuple(lit(*landmarks[k])) for k in colours} == colours
    assert np.abs(np.subtract(lit(*landmarks[2]), picture().getpixel(tuple(landmarks[2].astype(int))))).max() < 30
    at("save").click()
    saved = until(lambda: next(tmp_path.glob("*.json"), None))
    faces = until(lambda: json.loads(saved.read_text(encoding="utf-8") or "null"))
    assert [face["image"] for face in faces] == ["face.png"] * 2
    assert np.allclose(faces[0]["landmarks"], landmarks) and faces[1]["box"] == FOUND[1].tolist()

    for name in ("numbers", "circles"):
        at(name).click()
    for width, scheme in ((1280, "light"), (390, "dark")):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        until(lambda width=width: browser.execute_script("return canvas.clientWidth") < width)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        violations = Axe().run(browser)["violations"]
        assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in violations] == []

    # The camera goes on until it is stopped.
    at("camera").send_keys(Keys.ENTER)
    until(lambda: browser.execute_script("return file.name") == "camera.jpg")
    at("camera").send_keys(Keys.ENTER)
    assert browser.execute_script("return stream") is None and at("camera").text == "Use the camera"
    assert at("wrong").text == ""

    # What is no picture is said, and the next one is shown.
    choose(b"text")
    until(lambda: "not a picture that this browser can show" in at("wrong").text)
    assert [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []

    # Without a finder, a box is typed by keyboard alone, or drawn.
    browser.get(f"http://127.0.0.1:{port_without_finder}/")
    until(lambda: "no face finder" in at("model").text)
    choose(encoded("PNG"))
    until(lambda: at("said").text.startswith("Draw a box"))
    at("box").send_keys("10, 20, 50", Keys.ENTER)
    assert "found 10, 20, 50, expected four numbers" in at("wrong").text
    at("box").send_keys(", 60", Keys.ENTER)
    until(lambda: at("said").text.startswith("1 face in "))
    assert browser.execute_script("return found.boxes") == [[10, 20, 50, 60]] and at("wrong").text == ""

    canvas, scale = at("canvas"), browser.execute_script("return scale")
    start, size = np.array([20, 10]), np.array([60, 80])
    corner = scale * (start + 0.5) - np.array([canvas.size["width"], canvas.size["height"]]) / 2
    pointer = ActionChains(browser).move_to_element_with_offset(canvas, *corner.round().astype(int).tolist())
    pointer.click_and_hold().move_by_offset(*(scale * size).round().astype(int).tolist()).release().perform()
    until(lambda: browser.execute_script("return found.boxes[0][2] > 70"))
    assert np.abs(browser.execute_script("return found.boxes[0]") - np.array([*start, *(start + size)])).max() < 2
