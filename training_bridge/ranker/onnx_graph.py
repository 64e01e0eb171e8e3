"""A small builder of ONNX graphs: nodes by operator, names made as needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
IR_VERSION = 9
"""Read by onnxruntime from 1.15 on."""

ELEMENT_TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}


class GraphBuilder:
    """Collects nodes and constants; every method returns the name of a value in the graph."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, dtype: str, shape: tuple[int, ...]) -> str:
        """Declare an input."""
        self._inputs.append(helper.make_tensor_value_info(name, ELEMENT_TYPES[dtype], shape))
        return name

    def constant(self, array: NDArray[Any]) -> str:
        """Store a tensor."""
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def scalar(self, value: float) -> str:
        """Store a float32 scalar."""
        return self.constant(np.array(value, np.float32))

    def ints(self, *values: int) -> str:
        """Store an int64 vector, as axes and shapes are given."""
        return self.constant(np.array(values, np.int64))

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output."""
        name = f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def cast(self, value: str, dtype: str) -> str:
        """Convert to float32 or int64."""
        return self.node("Cast", value, to=ELEMENT_TYPES[dtype])

    def log_ratio(self, value: str, floor: float) -> str:
        """Return log(max(value, 0) / floor + 1)."""
        positive = self.node("Max", value, self.scalar(0.0))
        return self.node("Log", self.node("Add", self.node("Div", positive, self.scalar(floor)), self.scalar(1.0)))

    def output(self, value: str, name: str, shape: tuple[int, ...]) -> None:
        """Declare a float32 value as an output."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def model(self, name: str) -> onnx.ModelProto:
        """Return the checked model."""
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="marquee")
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model)
        return model
