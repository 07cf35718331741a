"""Writes small TFLite files with the flatbuffers that the reader of them needs anyway."""

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import tflite
from numpy.typing import NDArray

Array = NDArray[Any]
_TYPES = {np.dtype(np.float32): 0, np.dtype(np.float16): 1, np.dtype(np.int32): 2}


class ToyTflite:
    """One subgraph. Tensors and operators are added in order; ``write`` lays them out."""

    def __init__(self) -> None:
        self.b = flatbuffers.Builder(1024)
        self.tensors: list[tuple[str, tuple[int, ...], int, bytes, Any]] = []
        self.operators: list[tuple[str, list[int], list[int], int, Any]] = []

    def value(self, name: str, shape: tuple[int, ...]) -> int:
        """An activation, float32."""
        self.tensors.append((name, shape, 0, b"", None))
        return len(self.tensors) - 1

    def const(self, array: Array, sparse: bool = False) -> int:
        """A constant; sparse: stored by rows of its last axis, dense in front (TFLite's CSR)."""
        data, levels = array.reshape(-1), None
        if sparse:
            rows = array.reshape(-1, array.shape[-1])
            at = [np.flatnonzero(row) for row in rows]
            levels = (np.cumsum([0, *map(len, at)]), np.concatenate(at))
            data = np.concatenate([row[i] for row, i in zip(rows, at, strict=True)])
        self.tensors.append((f"c{len(self.tensors)}", array.shape, _TYPES[array.dtype], data.tobytes(), levels))
        return len(self.tensors) - 1

    def op(self, name: str, inputs: list[int], output: int, table: str = "", **options: int | bool) -> int:
        """Add an operator; ``table`` names its options, as in ``tflite.Conv2DOptions``. Returns its output."""
        made = None
        if table:
            getattr(tflite, f"{table}Start")(self.b)
            for key, value in options.items():
                getattr(tflite, f"{table}Add{key}")(self.b, value)
            made = getattr(tflite, f"{table}End")(self.b)
        kind = getattr(tflite.BuiltinOptions, table) if table else 0
        self.operators.append((name, inputs, [output], kind, made))
        return output

    def write(self, path: Path, inputs: list[int], outputs: list[int]) -> Path:
        b, empty = self.b, self.b.CreateByteVector(b"")
        tflite.BufferStart(b)
        tflite.BufferAddData(b, empty)
        buffers = [tflite.BufferEnd(b)]  # by convention the first buffer is empty: it is that of the activations
        tensors = [self._tensor(buffers, *t) for t in self.tensors]
        names = list(dict.fromkeys(op[0] for op in self.operators))
        operators = [self._operator(names, *op) for op in self.operators]
        parts = {"Tensors": self._table_vector(tensors), "Operators": self._table_vector(operators),
                 "Inputs": self._ints(inputs), "Outputs": self._ints(outputs)}  # fmt: skip
        tflite.SubGraphStart(b)
        for key, part in parts.items():
            getattr(tflite, f"SubGraphAdd{key}")(b, part)
        graphs = self._table_vector([tflite.SubGraphEnd(b)])
        codes = []
        for name in names:
            code = getattr(tflite.BuiltinOperator, name)
            tflite.OperatorCodeStart(b)
            tflite.OperatorCodeAddDeprecatedBuiltinCode(b, min(code, 127))
            tflite.OperatorCodeAddBuiltinCode(b, code)
            tflite.OperatorCodeAddVersion(b, 1)
            codes.append(tflite.OperatorCodeEnd(b))
        codes_at, buffers_at = self._table_vector(codes), self._table_vector(buffers)
        tflite.ModelStart(b)
        tflite.ModelAddVersion(b, 3)
        tflite.ModelAddOperatorCodes(b, codes_at)
        tflite.ModelAddSubgraphs(b, graphs)
        tflite.ModelAddBuffers(b, buffers_at)
        b.Finish(tflite.ModelEnd(b), b"TFL3")
        path.write_bytes(bytes(b.Output()))
        return path

    def _tensor(
        self, buffers: list[int], name: str, shape: tuple[int, ...], kind: int, data: bytes, levels: Any
    ) -> int:
        b, buffer = self.b, 0
        if data:
            vector = b.CreateByteVector(data)
            tflite.BufferStart(b)
            tflite.BufferAddData(b, vector)
            buffers.append(tflite.BufferEnd(b))
            buffer = len(buffers) - 1
        sparsity = self._sparsity(shape, *levels) if levels else None
        text, dims = b.CreateString(name), self._ints(shape)
        tflite.TensorStart(b)
        tflite.TensorAddName(b, text)
        tflite.TensorAddShape(b, dims)
        tflite.TensorAddType(b, kind)
        tflite.TensorAddBuffer(b, buffer)
        if sparsity is not None:
            tflite.TensorAddSparsity(b, sparsity)
        return int(tflite.TensorEnd(b))

    def _sparsity(self, shape: tuple[int, ...], starts: Array, index: Array) -> int:
        b = self.b
        made = []
        for k, size in enumerate(shape):
            vectors = [self._index(starts), self._index(index)] if k == len(shape) - 1 else []
            tflite.DimensionMetadataStart(b)
            tflite.DimensionMetadataAddFormat(b, 1 if vectors else 0)
            if vectors:
                tflite.DimensionMetadataAddArraySegmentsType(b, tflite.SparseIndexVector.Int32Vector)
                tflite.DimensionMetadataAddArraySegments(b, vectors[0])
                tflite.DimensionMetadataAddArrayIndicesType(b, tflite.SparseIndexVector.Int32Vector)
                tflite.DimensionMetadataAddArrayIndices(b, vectors[1])
            else:
                tflite.DimensionMetadataAddDenseSize(b, size)
            made.append(tflite.DimensionMetadataEnd(b))
        order, dims = self._ints(range(len(shape))), self._table_vector(made)
        tflite.SparsityParametersStart(b)
        tflite.SparsityParametersAddTraversalOrder(b, order)
        tflite.SparsityParametersAddDimMetadata(b, dims)
        return int(tflite.SparsityParametersEnd(b))

    def _index(self, values: Array) -> int:
        at = self._ints(values)
        tflite.Int32VectorStart(self.b)
        tflite.Int32VectorAddValues(self.b, at)
        return int(tflite.Int32VectorEnd(self.b))

    def _operator(
        self, names: list[str], name: str, inputs: list[int], outputs: list[int], kind: int, made: Any
    ) -> int:
        b, ins, outs = self.b, self._ints(inputs), self._ints(outputs)
        tflite.OperatorStart(b)
        tflite.OperatorAddOpcodeIndex(b, names.index(name))
        tflite.OperatorAddInputs(b, ins)
        tflite.OperatorAddOutputs(b, outs)
        if made is not None:
            tflite.OperatorAddBuiltinOptionsType(b, kind)
            tflite.OperatorAddBuiltinOptions(b, made)
        return int(tflite.OperatorEnd(b))

    def _ints(self, values: Any) -> int:
        return int(self.b.CreateNumpyVector(np.asarray(list(values), np.int32)))

    def _table_vector(self, tables: list[int]) -> int:
        self.b.StartVector(4, len(tables), 4)
        for table in reversed(tables):
            self.b.PrependUOffsetTRelative(table)
        return int(self.b.EndVector())
