"""A library of another shape is refused, never written to."""

from __future__ import annotations

import ctypes
import importlib.util

import pytest

from fluvial.build.helm.memory import DefaultCapabilities, ProcessMemory, UnknownLayout


def test_an_address_that_is_none_gives_nothing() -> None:
    memory = ProcessMemory()
    buffer = ctypes.create_string_buffer(b"text")

    assert memory.read(ctypes.addressof(buffer), 4) == b"text"
    assert memory.read(8, 4) == b""
    assert memory.read(2**63, 4) == b""
    memory.close()


def test_a_library_without_such_a_structure() -> None:
    memory = ProcessMemory()
    spec = importlib.util.find_spec("orjson.orjson")
    assert spec is not None
    assert spec.origin is not None
    library = spec.origin.rpartition("/")[2]

    assert memory.writable(library)
    with pytest.raises(UnknownLayout, match="in 0 places"):
        DefaultCapabilities(memory, library=library, version="v1.36.0", api_versions=["v1"])
    memory.close()


def test_a_library_that_is_not_loaded() -> None:
    memory = ProcessMemory()
    with pytest.raises(UnknownLayout):
        DefaultCapabilities(memory, library="no.so", version="v1.36.0", api_versions=["v1"])
    memory.close()
