"""Spans of vLLM are made for requests that are traced."""

from types import SimpleNamespace

import pytest

from llama_serving.engine.loop.unsampled import without_spans

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"


@pytest.mark.parametrize(
    ("headers", "made"),
    [
        ({"traceparent": f"{PARENT}-01"}, True),
        ({"traceparent": f"{PARENT}-03"}, True),
        ({"traceparent": f"{PARENT}-00"}, False),
        ({"traceparent": f"{PARENT}-02"}, False),
        ({"traceparent": "no parent"}, True),
        ({"tracestate": "a=b"}, True),
        ({}, True),
        (None, True),
    ],
)
def test_a_span_is_made_of_what_is_traced(headers, made):
    spans = []
    processor = SimpleNamespace(do_tracing=lambda *what: spans.append(what))
    without_spans(processor)
    output = SimpleNamespace(trace_headers=headers)
    processor.do_tracing(output, "state", "statistics")
    assert spans == ([(output, "state", "statistics")] if made else [])


@pytest.mark.parametrize("processor", [None, SimpleNamespace()])
def test_a_processor_that_makes_none_stays_as_it_is(processor):
    without_spans(processor)
