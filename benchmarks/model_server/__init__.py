"""A model server that keeps time: Ollama or vLLM as recorded, a discrete-event model behind it, on a scaled clock.

As a program:

    python -m benchmarks.model_server --profile laptop --scale 0.01 [--set slots=4 swap_s=1.5]

prints its URL and serves until SIGTERM or the end of its `--lifetime`. In a test or a benchmark:

    async with ModelServer("laptop", changes=["slots=4"], scale=0.001) as server:
        ...  # server.url, server.stats(), server.timeline

One simulated second lasts `scale` real ones. Every duration in a reply, in `/_stats` and in `/_timeline` is simulated.
What the client does between a reply and its next request costs it real time, and with `scale` 0.01 a hundred times as
much simulated time; `--grace 0.005` lets the simulated clock stand still for 5 ms after every reply instead.

Besides the server's own paths: `GET /_stats`, `POST /_stats/reset`, `GET /_timeline`, `GET /_profile`.

The model is pure, and each part of it has a module: the timeline (`events`), the GPU shared by streams (`sharing`),
what prompts share (`prompts`), Ollama's loading (`residency`), its slots (`slots`), and their sum (`ollama_model`);
vLLM's blocks (`blocks`) and engine (`vllm_model`); what is said (`wording`) and counted (`counts`). `pace` ties the
timeline to the real clock; `ollama_api` and `vllm_api` speak HTTP. Profiles are TOML files in `profiles/`.
"""

from .profile import Profile, load_profile
from .server import ModelServer

__all__ = ["ModelServer", "Profile", "load_profile"]
