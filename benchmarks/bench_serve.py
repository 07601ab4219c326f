"""Claim: a served run is ready in 2 s, answers one image in 300 ms and a hundred in 1.5 s; memory stays flat.

Starts ``clineval serve RESULTS`` on a free port of 127.0.0.1, measures with real sockets, and prints JSON:
seconds until the page answers, median and worst of single images and of a hundred small ones, then many
clients for a minute (errors, answers, how the memory grew after its first ten seconds).

    python benchmarks/bench_serve.py results --clients 20 --seconds 60
"""

import argparse
import http.client
import io
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import threading
import time
import uuid

import numpy as np
from PIL import Image


def started(results):
    """The process, its port, and seconds from the command to the first page: on the clock, of processor."""
    line = [sys.executable, "-m", "clineval", "serve", results, "--port", "0", "--no-open"]
    begun = time.perf_counter()
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    port = int(re.search(r":(\d+)/", process.stdout.readline())[1])
    status, _ = asked(port, "GET", "/", b"", {})
    assert status == 200
    return (
        process,
        port,
        {
            "wall": round(time.perf_counter() - begun, 2),
            "processor": round(processor_seconds(process), 2),
        },
    )


def processor_seconds(process):
    with open(f"/proc/{process.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def asked(port, method, address, body, headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(method, address, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def form(images):
    mark = uuid.uuid4().hex
    parts = [
        f'--{mark}\r\nContent-Disposition: form-data; name="images"; filename="{number}.png"\r\n\r\n'.encode()
        + image
        + b"\r\n"
        for number, image in enumerate(images)
    ]
    body = b"".join(parts) + f"--{mark}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={mark}"}


def picture(chance, height, width):
    stream = io.BytesIO()
    grey = chance.integers(0, 256, (height // 4, width // 4), np.uint8)
    Image.fromarray(grey).resize((width, height), Image.Resampling.BICUBIC).save(stream, "PNG")
    return stream.getvalue()


def timed(port, address, images, times):
    body, headers = form(images)
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        status, _ = asked(port, "POST", address, body, headers)
        assert status == 200
        took.append(time.perf_counter() - begun)
    return {"median_s": round(statistics.median(took), 3), "worst_s": round(max(took), 3), "times": times}


def memory(process):
    with open(f"/proc/{process.pid}/status") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) / 1024


def load(process, port, body_and_headers, *, clients, seconds):
    """What so many clients met with who asked again as soon as they were answered."""
    ends, answers, errors, took = time.perf_counter() + seconds, [], [], []

    def client():
        while time.perf_counter() < ends:
            begun = time.perf_counter()
            try:
                status, _ = asked(port, "POST", "/api/examine?pictures=true", *body_and_headers)
            except OSError as error:
                errors.append(repr(error))
                continue
            (answers if status == 200 else errors).append(status)
            took.append(time.perf_counter() - begun)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for each in threads:
        each.start()
    sampled = []
    while any(each.is_alive() for each in threads):
        time.sleep(1)
        sampled.append(memory(process))
    settled = sampled[min(10, len(sampled) // 2) :]
    return {
        "clients": clients,
        "seconds": seconds,
        "answers": len(answers),
        "errors": len(errors),
        "median_s": round(statistics.median(took), 3),
        "memory_mb": {
            "settled": round(settled[0]),
            "highest": round(max(settled)),
            "last": round(settled[-1]),
        },
        "grown_mb": round(max(settled) - settled[0], 1),
    }


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="?", default="results")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    words = parser.parse_args()
    chance = np.random.default_rng(0)
    ready = []
    for last in (False, False, True):
        process, port, took = started(words.results)
        ready.append(took)
        if not last:
            process.terminate()
            process.wait()
    small, usual = [picture(chance, 28, 28) for _ in range(100)], picture(chance, 480, 640)
    found = {
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "load": os.getloadavg()[0]},
        "ready_s": ready,
        "one_image": timed(port, "/api/predict", [usual], 20),
        "one_image_examined": timed(port, "/api/examine?pictures=true", [usual], 20),
        "a_hundred_small": timed(port, "/api/predict", small, 5),
        "a_hundred_small_examined": timed(port, "/api/examine", small, 5),
        "load": load(process, port, form([usual]), clients=words.clients, seconds=words.seconds),
    }
    process.terminate()
    process.wait()
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
