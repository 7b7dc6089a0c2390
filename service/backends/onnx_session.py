"""An artefact's graph and tokenizer, opened.

Owns the settings of onnxruntime and of the tokenizer. Refuses to know what is fed to them.
"""

from __future__ import annotations

import onnxruntime as ort
from tokenizers import Tokenizer

from service.backends.artifact import Artifact
from service.backends.inner_states import STATES, with_outputs
from service.errors import ArtifactInvalid


def new_session(graph: bytes, threads: int) -> ort.InferenceSession:
    """A session on the CPU with so many threads of its own; raises what onnxruntime does."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # Spinning threads would take the core that the event loop answers on.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def open_session(artifact: Artifact, threads: int) -> ort.InferenceSession:
    """An onnxruntime session on the CPU; raises ArtifactInvalid when the graph cannot be loaded."""
    try:
        graph = with_outputs(artifact.weights.read_bytes(), STATES)
        session = new_session(graph, threads)
    except Exception as error:  # onnxruntime raises classes of its own that share no public base
        raise ArtifactInvalid(f"{artifact.name}: onnxruntime cannot load model.onnx") from error
    shapes = {output.name: output.shape for output in session.get_outputs()}
    if "logits" not in shapes or shapes["logits"][-1:] != [len(artifact.labels)]:
        raise ArtifactInvalid(f"{artifact.name}: model.onnx does not give a logit for each of its labels")
    return session


def open_tokenizer(artifact: Artifact) -> Tokenizer:
    """The artefact's tokenizer, without truncation or padding; raises ArtifactInvalid when it cannot be read."""
    try:
        tokenizer = Tokenizer.from_file(str(artifact.tokenizer))
    except Exception as error:  # tokenizers raises bare Exception
        raise ArtifactInvalid(f"{artifact.name}: tokenizer.json cannot be read") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
