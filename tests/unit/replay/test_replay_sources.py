"""Files of every shape are read; of damaged ones what can be, and the rest is counted with its place."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from random import Random
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from spanwise.errors import ConfigurationError
from spanwise.replay import json_lines
from spanwise.replay.sources import files_of, read_file
from spanwise.replay.spans import Losses, Span

TRACE = bytes(range(1, 17))


def message(*names: str) -> ExportTraceServiceRequest:
    found = ExportTraceServiceRequest()
    group = found.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope = group.scope_spans.add()
    for name in names:
        span = scope.spans.add(name=name, kind=2, trace_id=TRACE, span_id=b"12345678")
        span.start_time_unix_nano, span.end_time_unix_nano = 10**18, 10**18 + 5
        span.status.code = 2
        span.attributes.add(key="text").value.string_value = "é"
        span.attributes.add(key="number").value.int_value = -(2**63)
        span.attributes.add(key="flag").value.bool_value = False
        span.attributes.add(key="nothing")
        span.attributes.add(key="text").value.string_value = "a second one does not count"
    return found


def line(*names: str, **other: Any) -> str:
    pairs = [
        {"key": "text", "value": {"stringValue": "é"}},
        {"key": "number", "value": {"intValue": str(-(2**63))}},
        {"key": "flag", "value": {"boolValue": False}},
        {"key": "nothing", "value": {}},
        {"key": "text", "value": {"stringValue": "a second one does not count"}},
    ]
    spans = [
        {
            "traceId": TRACE.hex(),
            "spanId": b"12345678".hex(),
            "name": name,
            "kind": 2,
            "startTimeUnixNano": str(10**18),
            "endTimeUnixNano": str(10**18 + 5),
            "status": {"code": 2},
            "attributes": pairs,
            **other,
        }
        for name in names
    ]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}) + "\n"


def framed(*messages: ExportTraceServiceRequest) -> bytes:
    bodies = [each.SerializeToString() for each in messages]
    return b"".join(len(body).to_bytes(4, "big") + body for body in bodies)


def read(file: Path) -> tuple[list[Span], Losses]:
    losses = Losses()
    found = [span for batch in read_file(file, losses, lambda _: None) for span in batch.spans]
    return found, losses


SHAPES = {
    "one request": message("a", "b").SerializeToString(),
    "framed requests": framed(message("a"), message("b")),
    "JSON lines": (line("a") + "\n" + line("b")).encode(),
    "JSON with a byte order mark": b"\xef\xbb\xbf" + line("a", "b").encode(),
    "kinds and states as words": line(
        "a", "b", kind="SPAN_KIND_SERVER", status={"code": "STATUS_CODE_ERROR"}
    ).encode(),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_the_same_spans(tmp_path: Path, shape: str, packed: bool) -> None:
    file = tmp_path / "traces"
    file.write_bytes(gzip.compress(SHAPES[shape]) if packed else SHAPES[shape])
    seen: list[int] = []
    losses = Losses()
    batches = list(read_file(file, losses, seen.append))
    assert not losses
    assert all(batch.resource == {"service.name": "shop"} for batch in batches)
    found = [span for batch in batches for span in batch.spans]
    attributes = {"text": "é", "number": -(2**63), "flag": False, "nothing": None}
    assert [span._replace(size=0) for span in found] == [
        Span(TRACE, name, 2, 10**18, 10**18 + 5, 2, attributes, 0) for name in "ab"
    ]
    assert all(span.size > 80 for span in found)
    assert sum(seen) == file.stat().st_size, "the progress bar reaches its end"


def test_the_bytes_of_a_span_are_its_own(tmp_path: Path) -> None:
    file = tmp_path / "t.pb"
    sent = message("a", "b" * 1_000)
    file.write_bytes(sent.SerializeToString())
    sizes = [span.ByteSize() for span in sent.resource_spans[0].scope_spans[0].spans]
    assert [span.size for span in read(file)[0]] == sizes


def test_metrics_and_logs_between_the_traces_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text('{"resourceMetrics":[{}]}\n' + line("a") + '{"resourceLogs":[]}\n')
    found, losses = read(file)
    assert [span.name for span in found] == ["a"]
    assert not losses


def test_a_folder_is_read_by_name_without_what_is_hidden(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.jsonl", "a.pb", "sub/c", ".hidden"):
        (tmp_path / name).write_text("")
    assert [str(each.relative_to(tmp_path)) for each in files_of(tmp_path)] == ["a.pb", "b.jsonl", "sub/c"]
    assert files_of(tmp_path / "a.pb") == [tmp_path / "a.pb"]
    with pytest.raises(ConfigurationError, match="No such file"):
        files_of(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError, match="holds no file"):
        files_of(tmp_path / "empty")


A, B = (framed(message(name)) for name in "ab")
ONE = message("a").SerializeToString()
DAMAGED: dict[str, tuple[bytes, list[str], int, list[str]]] = {
    # what stands in the file: spans that are read, bytes that are lost, where and why
    "a line that is cut off": (
        (line("a") + line("b")[:50] + "\n" + line("c")).encode(),
        ["a", "c"],
        51,
        ["line 2: not a request in OTLP/JSON: "],
    ),
    "the first line is cut off": (
        (line("a")[50:] + line("b")).encode(),
        ["b"],
        len(line("a")) - 50,
        ["line 1: not a request"],
    ),
    "a line that is no object": (b"[1]\n" + line("a").encode(), ["a"], 4, ["line 1: not a request"]),
    "a line that is nested deep": (
        line("a").encode() + b'{"a":' + b"[" * 100_000 + b"\n" + line("b").encode(),
        ["a", "b"],
        100_006,
        ["line 2: not a request in OTLP/JSON: nested too deep"],
    ),
    "a framed request that is none": (
        A + b"\0\0\0\3abc" + B,
        ["a", "b"],
        7,
        [f"byte {len(A)}: no request of traces"],
    ),
    "a framed request of zstd": (
        A + b"\0\0\0\5\x28\xb5\x2f\xfd0",
        ["a"],
        9,
        [f"byte {len(A)}: compressed with zstd: unpack it first"],
    ),
    "cut off within a length": (A + B[:2], ["a"], 2, [f"byte {len(A)}: the file ends within a length"]),
    "a length that claims memory": (
        A + b"\x7f\xff\xff\xff" + B,
        ["a"],
        4 + len(B),
        [f"byte {len(A)}: a length of 2147483647"],
    ),
    "a request's resource that is none": (
        ONE + b"\x0a\x03abc" + ONE,
        ["a", "a"],
        5,
        [f"byte {len(ONE)}: no resource's spans"],
    ),
    "a request with something else behind it": (
        ONE + b"garbage",
        ["a"],
        7,
        [f"byte {len(ONE)}: no request of traces"],
    ),
    "a length without an end": (ONE + b"\x0a" + b"\xff" * 9, ["a"], 10, [f"byte {len(ONE)}: no request"]),
    "a resource that claims memory": (
        ONE + b"\x0a\xff\xff\xff\xff\x07abc",
        ["a"],
        9,
        [f"byte {len(ONE)}: a resource's spans of 2147483647 bytes; what follows cannot be read"],
    ),
    "something else": (b"\x89PNG\0\0\0\0\0", [], 9, ["byte 0: neither JSON nor a request"]),
    "zstd": (b"\x28\xb5\x2f\xfdabcdef", [], 10, ["byte 0: neither JSON nor a request: unpack it first"]),
    "nothing": (b"", [], 0, ["it is empty"]),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damage_is_told_with_its_place_and_the_rest_is_read(tmp_path: Path, damage: str) -> None:
    content, names, size, told = DAMAGED[damage]
    file = tmp_path / "traces"
    file.write_bytes(content)
    found, losses = read(file)
    assert [span.name for span in found] == names
    assert (losses.size, losses.spans) == (size, 0)
    assert len(losses.problems) == len(told)
    for problem, wanted in zip(losses.problems, told, strict=True):
        assert problem.startswith(str(file))
        assert wanted in problem


@pytest.mark.parametrize("shape", ["one request", "framed requests"])
def test_of_a_request_that_is_cut_off_the_whole_spans_are_read(tmp_path: Path, shape: str) -> None:
    sent = message(*"abcdef")
    content = sent.SerializeToString() if shape == "one request" else framed(sent)
    file = tmp_path / "traces.pb"
    read_before = 0
    for length in range(1, len(content)):
        file.write_bytes(content[:length])
        found, losses = read(file)
        assert "".join(span.name for span in found) == "abcdef"[: len(found)]
        assert len(found) >= read_before
        read_before = len(found)
        assert len(losses.problems) == 1, "it is told"
        # What is read and what is lost is what there is, but for the heads that are written anew.
        assert losses.size <= length
        assert losses.size > 0
    assert read_before == 5


def test_a_cut_in_a_later_part_leaves_the_earlier_ones(tmp_path: Path) -> None:
    file = tmp_path / "traces.pb"
    for content, place in ((A + B[:-1], len(A)), (ONE + ONE[:-1], len(ONE))):
        file.write_bytes(content)
        found, losses = read(file)
        assert [span.name for span in found] == ["a"]
        assert losses.problems[0].startswith(f"{file}, byte {place}: the file ends within a re")


WRONG: list[dict[str, Any]] = [
    {"traceId": "ab"},
    {"traceId": "0" * 32},
    {"traceId": None},
    {"traceId": "x" * 32},
    {"name": 5},
    {"startTimeUnixNano": "-1"},
    {"endTimeUnixNano": str(2**64)},
    {"startTimeUnixNano": math.inf},  # written as 1e999 by others
    {"attributes": [{"value": {"intValue": "1"}}]},
    {"attributes": [{"key": "a", "value": {"intValue": str(2**63)}}]},
    {"attributes": [{"key": "a", "value": {"intValue": math.inf}}]},
    {"attributes": [{"key": "a", "value": {"intValue": "much"}}]},
    {"attributes": 7},
    {"kind": [1]},
    {"status": "bad"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_one_wrong_span_is_counted_and_its_neighbours_are_read(tmp_path: Path, wrong: dict[str, Any]) -> None:
    bad = json.loads(line("bad", **wrong))["resourceSpans"][0]["scopeSpans"][0]["spans"]
    document = json.loads(line("a", "b"))
    document["resourceSpans"][0]["scopeSpans"][0]["spans"][1:1] = bad
    file = tmp_path / "t.jsonl"
    file.write_text(json.dumps(document))
    found, losses = read(file)
    assert [span.name for span in found] == ["a", "b"]
    assert (losses.spans, losses.size) == (1, 0)
    assert losses.problems[0].startswith(f"{file}, line 1: span 2 of a resource cannot be read: ")


@pytest.mark.parametrize("trace_id", [b"", b"short", bytes(16)])
def test_a_protobuf_span_without_a_trace_is_counted(tmp_path: Path, trace_id: bytes) -> None:
    sent = message("a", "b")
    sent.resource_spans[0].scope_spans[0].spans[0].trace_id = trace_id
    file = tmp_path / "t.pb"
    file.write_bytes(sent.SerializeToString())
    found, losses = read(file)
    assert [span.name for span in found] == ["b"]
    assert losses.spans == 1


def test_a_gzip_file_that_is_cut_off_gives_what_came_before(tmp_path: Path) -> None:
    noise = "".join(Random(1).choices("abcdefgh", k=2_000_000))
    whole = gzip.compress((line("a") + line("b", traceState=noise)).encode())
    file = tmp_path / "t.jsonl.gz"
    file.write_bytes(whole[: len(whole) // 2])
    found, losses = read(file)
    assert [span.name for span in found] == ["a"]
    assert f"{file}, byte {len(whole) // 2} of the packed file: the gzip stream is cut off" in losses.problems


def test_a_gzip_file_whose_middle_is_damaged_gives_what_came_before(tmp_path: Path) -> None:
    first = gzip.compress(line("a").encode())
    file = tmp_path / "t.jsonl.gz"
    file.write_bytes(first + b"\x1f\x8b\x08garbage that is no member of it")
    found, losses = read(file)
    assert [span.name for span in found] == ["a"]
    assert "gzip: " in losses.problems[0]


def test_a_gzip_file_of_several_members_and_zeros_behind_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl.gz"
    many = [line(f"{number}") for number in range(300)]
    file.write_bytes(b"".join(gzip.compress(each.encode()) for each in many) + b"\0" * 512)
    found, losses = read(file)
    assert [span.name for span in found] == [str(number) for number in range(300)]
    assert not losses


def test_a_line_without_an_end_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "LONGEST_LINE", 2_000)
    file = tmp_path / "t.jsonl"
    long = '{"resourceSpans": "' + "x" * 9_000 + '"}\n'
    file.write_text(line("a") + long + line("b"))
    found, losses = read(file)
    assert [span.name for span in found] == ["a", "b"]
    assert losses.size == len(long)
    assert "line 2: longer than 2000 bytes" in losses.problems[0]


def test_many_problems_are_counted_and_few_told(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text("{}\n" + "x\n" * 1_000)
    _, losses = read(file)
    assert (len(losses.problems), losses.more, losses.size) == (10, 990, 2_000)
