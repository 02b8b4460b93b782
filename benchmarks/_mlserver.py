"""A runtime for MLServer that runs the graph and nothing else; benchmarks/predict.py copies it beside its settings."""

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class Graph(MLModel):  # type: ignore[misc]  # MLServer is not among our requirements
    """One ONNX session with one thread, as Tiltyard opens it."""

    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = self.settings.parameters.uri
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        tensor = payload.inputs[0]
        rows = np.array(tensor.data.root, np.float64).reshape(tensor.shape)
        scores = self.session.run(["scores"], {"numeric": rows})[0]
        output = ResponseOutput(name="scores", shape=list(scores.shape), datatype="FP64", data=scores.ravel().tolist())
        return InferenceResponse(model_name=self.name, outputs=[output])
