"""A model as this process serves it now."""

from contracts import streams
from contracts.config import Model
from contracts.quantities import seconds
from contracts.schema import Schema
from serving.counts import Counts
from serving.model import Served
from serving.question import Form


class Live:
    """One configured model. `served` is replaced whole and never changed, so whoever holds it keeps what it is."""

    def __init__(self, name: str, model: Model):
        self.name, self.model = name, model
        self.schema: Schema = model.schema
        self.form = Form(name, model)
        self.counts = Counts(self.schema.label.width, seconds(model.gate.max_latency))
        self.served: Served | None = None
        self.refused: str | None = None
        """Why the release that the board asks for does not serve; None while it does."""
        self.stream = streams.key(name, "predictions").encode()
