"""Before anything has earned to answer: the prior, so that questions are answered and logged from the first second.

``python -m flows.bootstrap`` does it for every model of the configuration. It needs Redis, not MLflow.
"""

import logging
import time

from contracts.releases import PRIOR_VERSION, Golden, Manifest, Release, sha256
from flows.place import Place, open_place, read_configuration
from learners.prior import prior_onnx

log = logging.getLogger(__name__)


def open_with_prior(place: Place) -> None:
    """Lets the prior of a model answer, unless somebody does already."""
    onnx = prior_onnx(place.schema)
    manifest = Manifest(
        model=place.name,
        version=PRIOR_VERSION,
        kind="prior",
        learner="prior",
        revision=0,
        schema=place.schema.fingerprint,
        onnx_sha256=sha256(onnx),
        created_at=time.time(),
        golden=Golden(),
    )
    board = place.roles.open_with_prior(Release(manifest, onnx), cause="bootstrap")
    log.info("opened model=%s champion=%s", place.name, board.champion)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    models, settings = read_configuration()
    for name, model in models.models.items():
        open_with_prior(open_place(name, model, settings))


if __name__ == "__main__":
    main()
