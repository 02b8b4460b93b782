"""`python -m serving`: one serving process. Addresses come from TILTYARD_* variables."""

import argparse
import gc
import logging
import sys

import uvicorn

from contracts import config, settings
from contracts.quantities import ConfigError
from serving.app import build
from serving.door import Door

_KEEP_ALIVE_S = 75  # longer than clients keep idle connections, so that none is closed under a request
_GRACE_S = 10


def main() -> None:
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        environment = settings.from_environment()
        models = config.load(environment.config)
        app = build(models, environment, f"{arguments.host}:{arguments.port}")
    except ConfigError as error:
        sys.exit(str(error))
    uvicorn_config = uvicorn.Config(
        app,
        host=arguments.host,
        port=arguments.port,
        http=Door,
        ws="none",
        loop="uvloop",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )
    gc.freeze()  # what was imported stays: a full collection through it would hold up answers
    uvicorn.Server(uvicorn_config).run()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m serving", description="Answer, and take the labels that come later.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
