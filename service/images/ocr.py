"""Reads the writing in a picture: finds lines, reads each, turns or mirrors those that cannot be read as they stand.

Owns rapidocr (PP-OCRv6, whose weights lie in its wheel) and what counts as read. Refuses to know files, what a text
means and who asks. It needs no network: both models are named by path, since rapidocr fetches those named otherwise.
Measured with it: upright lines reach a confidence of 0.95, turned, mirrored and foreign ones rarely 0.85; Latin and
Chinese scripts are read, of others the lines are found and not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import rapidocr
from numpy.typing import NDArray
from rapidocr.ch_ppocr_det import TextDetector
from rapidocr.ch_ppocr_rec import TextRecInput, TextRecognizer

from service.images.line_order import Placed, Turn, reading_order
from service.images.reading import Line
from service.types import Box

Pixels: TypeAlias = NDArray[np.uint8]  # (height, width, 3)

SIDE = 384  # lines are looked for in as many pixels as a square of this side has
FINE_SIDE = 768  # and again in those of this one where a larger picture seems to have small writing
SMALL = 14.0  # pixels of height at SIDE; beside a line so low others are lost
SURE = 0.95  # confidence of a line that needs no second look
READ = 0.8  # from here a line counts as read
GUESSED = 0.5  # from here a guess is worth judging, though it does not count as read
MOST_LINES = 80  # read of one picture, the largest
MOST_TURNED = 6  # lines that are turned and read again, the largest
MOST_ASPECT = 24.0  # of a picture; the detector wants multiples of 32 pixels and finds nothing where one side is none
LEAST_SIDE = 64  # pixels; a lower picture gets a border, without which its only line would touch the edges
_TURN_SHAPE = 1.5  # width over height from which a line is worth turning
_LINE_SHAPE = 2.5  # and from which it is writing though it cannot be read: folds and buttons look like a sign or two
_WHOLE = 0.25  # share of the picture from which a box is a whole garment, which looks like one sign
_WIDE_SIGN = 2.0  # width over height of a sign with the space around it; letters have a quarter of that
_TALL = 1.5  # height over width of a line that runs up or down
_WIDEST = 66.0  # width over height of what was ever trained on; a longer line is squeezed
_TURNS = (Turn(half=True), Turn(mirrored=True), Turn(half=True, mirrored=True))


@dataclass(slots=True)
class _Found:
    """A line: its corners from the top left one clockwise (4, 2), its pixels, and the best reading so far."""

    corners: NDArray[np.float32]
    pixels: Pixels
    turn: Turn
    text: str = ""
    confidence: float = 0.0

    @property
    def area(self) -> int:
        high, wide = _size(self.pixels)
        return high * wide

    @property
    def shape(self) -> float:
        """Width over height."""
        high, wide = _size(self.pixels)
        return wide / high


class TextReader:
    """Both models, loaded: half a second, and 300 to 400 MB. For one thread at a time."""

    def __init__(self) -> None:
        cv2.setNumThreads(1)
        self._detector, self._recogniser = _load()

    def read(self, rgb: Pixels) -> tuple[Line, ...]:
        """The lines of a picture (height, width, 3), in reading order, boxes in its pixels.

        A line that cannot be read in any turn is `readable=False`, with its text where that is a fair guess, else "".
        Raises ValueError for a picture that is longer than MOST_ASPECT times its width, or the other way round.
        """
        height, width = _size(rgb)
        if max(height, width) > MOST_ASPECT * min(height, width):
            raise ValueError("the picture is too long for its width")
        down, right = max(0, LEAST_SIDE - height) // 2, max(0, LEAST_SIDE - width) // 2
        picture = np.pad(rgb[:, :, ::-1], ((down, down), (right, right), (0, 0)), "edge")
        found = sorted(self._find(picture), key=lambda line: -line.area)
        self._read_all(found[:MOST_LINES])
        # Those beyond are told of whatever their shape: nobody has tried to read them.
        kept = [line for n, line in enumerate(found) if n >= MOST_LINES or _tells(line, height * width)]
        boxes = [_box(line.corners - (right, down), width, height) for line in kept]
        placed = [
            Placed(box, line.turn, len(line.text) if line.confidence >= READ else 0)
            for box, line in zip(boxes, kept, strict=True)
        ]
        return tuple(_line(kept[n], boxes[n]) for n in reading_order(placed, width, height))

    def _find(self, picture: Pixels) -> list[_Found]:
        """Lines of a BGR picture, not read yet."""
        height, width = _size(picture)
        long = max(height, width)
        stretch = sqrt(long / min(height, width))
        corners = self._detect(picture, SIDE * stretch)
        scale = min(1.0, SIDE * stretch / long)
        lowest = min((scale * min(_sides(quad)) for quad in corners), default=0.0)
        if scale < SIDE / FINE_SIDE * 1.5 and lowest < SMALL:
            fine = self._detect(picture, FINE_SIDE * stretch)
            corners = fine if len(fine) >= len(corners) else corners
        return [_cut_out(picture, quad) for quad in corners]

    def _detect(self, picture: Pixels, side: float) -> Sequence[NDArray[np.float32]]:
        """Corners of lines, looked for after the longer side was shrunk to `side` pixels, where it is longer."""
        self._detector.limit_side_len = round(side)
        boxes = self._detector(picture).boxes
        return () if boxes is None else [np.asarray(box, dtype=np.float32) for box in boxes]

    def _read_all(self, lines: Sequence[_Found]) -> None:
        """Read every line as it stands, then the doubtful ones turned; `lines` are the largest first."""
        for line, (text, confidence) in zip(lines, self._recognise([line.pixels for line in lines]), strict=True):
            line.text, line.confidence = text, confidence
        doubtful = [line for line in lines if line.confidence < SURE and line.shape >= _TURN_SHAPE][:MOST_TURNED]
        for turn in _TURNS:
            self._try(turn, doubtful)
            doubtful = [line for line in doubtful if line.confidence < SURE]
        # Small letters are so like each other that one mirrored line in ten seems readable: the others tell.
        for turn in _TURNS:
            if any((line.turn.half, line.turn.mirrored) == (turn.half, turn.mirrored) for line in lines):
                self._try(turn, lines)

    def _try(self, turn: Turn, lines: Sequence[_Found]) -> None:
        """Read lines turned, and believe what is surer than before."""
        guesses = self._recognise([_flipped(line.pixels, turn) for line in lines])
        for line, (text, confidence) in zip(lines, guesses, strict=True):
            if confidence >= READ and confidence > line.confidence:
                line.text, line.confidence = text, confidence
                line.turn = Turn(line.turn.quarter, turn.half, turn.mirrored)

    def _recognise(self, pictures: Sequence[Pixels]) -> list[tuple[str, float]]:
        """What each picture of one line says, and how sure that is; nothing said is never sure."""
        if not pictures:
            return []
        read = self._recogniser(TextRecInput(img=list(pictures)))
        texts = [" ".join(text.split()) for text in read.txts]
        return [
            (text, _trusted(text, float(score), one))
            for text, score, one in zip(texts, read.scores, pictures, strict=True)
        ]


def _load() -> tuple[Any, Any]:
    """Detector and recogniser, one thread each."""
    models = Path(rapidocr.__file__).parent / "models"
    settings = {
        "Global.log_level": "error",
        "EngineConfig.onnxruntime.intra_op_num_threads": 1,
        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        "Det.limit_type": "max",
        "Det.model_path": str(models / "PP-OCRv6_det_small.onnx"),
        "Rec.model_path": str(models / "PP-OCRv6_rec_small.onnx"),
        "Rec.rec_batch_num": 1,
    }
    config = rapidocr.RapidOCR(params=settings).cfg
    for part in (config.Det, config.Rec):
        part.engine_cfg = config.EngineConfig.onnxruntime
    config.Rec.font_path = None
    return TextDetector(config.Det), TextRecognizer(config.Rec)


def _size(pixels: Pixels) -> tuple[int, int]:
    """Height and width."""
    return int(pixels.shape[0]), int(pixels.shape[1])


def _sides(corners: NDArray[np.float32]) -> tuple[float, float]:
    """Width and height of four corners, the longer of each pair of edges."""
    edges = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1)
    return float(max(edges[0], edges[2])), float(max(edges[1], edges[3]))


def _cut_out(picture: Pixels, corners: NDArray[np.float32]) -> _Found:
    """The pixels between four corners, straightened; what runs up or down is laid flat."""
    width, height = (max(1, int(side)) for side in _sides(corners))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    matrix = cv2.getPerspectiveTransform(corners, target)
    pixels = cv2.warpPerspective(picture, matrix, (width, height), None, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)
    tall = height >= _TALL * width
    if tall:
        pixels = cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE)
    high, wide = pixels.shape[:2]
    if wide > _WIDEST * high:
        pixels = cv2.resize(pixels, (int(_WIDEST * high), high), interpolation=cv2.INTER_AREA)
    return _Found(corners, np.asarray(pixels, dtype=np.uint8), Turn(quarter=tall))


def _trusted(text: str, confidence: float, pixels: Pixels) -> float:
    """How far a reading is believed: not where it has no letter, and not as read where it leaves most of a line out."""
    if not any(map(str.isalnum, text)):
        return 0.0
    high, wide = _size(pixels)
    return confidence if _WIDE_SIGN * len(text) * high >= wide else min(confidence, READ - 0.01)


def _flipped(pixels: Pixels, turn: Turn) -> Pixels:
    way = {(True, False): -1, (False, True): 1, (True, True): 0}[turn.half, turn.mirrored]
    return np.asarray(cv2.flip(pixels, way), dtype=np.uint8)


def _tells(line: _Found, pixels: int) -> bool:
    """Whether a line is worth telling of: it was read, or has the shape of writing."""
    small = line.area < _WHOLE * pixels
    return small or len(line.text) > 2 if line.confidence >= READ else small and line.shape >= _LINE_SHAPE


def _box(corners: NDArray[np.float32], width: int, height: int) -> Box:
    """The upright rectangle around four corners, within the picture."""
    left, top = (int(max(0, least)) for least in np.floor(corners.min(axis=0)))
    right, bottom = np.ceil(corners.max(axis=0))
    return Box(left, top, max(1, int(min(width, right)) - left), max(1, int(min(height, bottom)) - top))


def _line(found: _Found, box: Box) -> Line:
    text = found.text if found.confidence >= GUESSED else ""
    return Line(text, box, round(found.confidence, 4), readable=found.confidence >= READ)
