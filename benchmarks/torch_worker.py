"""Eager PyTorch training steps on demand: channels-last, momentum 0.9, all cores or one GPU.

Run by `benchmarks.yardsticks.TorchWorker` with the settings as JSON; needs PyTorch only. Reads
numbers of steps from standard input, answers each with the seconds that they took.
"""

import json
import os
import sys
import time

import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional as F  # pyright: ignore[reportMissingImports]

CLASSES = 10


class BasicBlock(nn.Module):
    """Two normalized 3x3 convolutions and a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int):
        super().__init__()
        self.conv0 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm0 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride > 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x):
        """Of images `[example, channel, height, width]`."""
        y = F.relu(self.norm0(self.conv0(x)))
        return F.relu(self.norm1(self.conv1(y)) + self.shortcut(x))


def make_network(name: str, image: tuple[int, int, int]) -> nn.Module:
    """The networks of `benchmarks.problems`."""
    height, width, channels = image
    if name == "digits":
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(height * width * channels, 32),
            nn.ReLU(),
            nn.Linear(32, CLASSES),
        )
    if name == "cnn":
        return nn.Sequential(
            nn.Conv2d(channels, 16, 3, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * (height // 4) * (width // 4), CLASSES),
        )
    stages = []
    channels_in = 64
    for stage in range(4):
        for block in range(2):
            stride = 2 if stage > 0 and block == 0 else 1
            stages.append(BasicBlock(channels_in, 64 * 2**stage, stride))
            channels_in = 64 * 2**stage
    stem = [nn.Conv2d(channels, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, CLASSES)]
    return nn.Sequential(*stem, *stages, *head)


def main() -> None:
    """Answer numbers of steps until there are no more."""
    settings = json.loads(sys.argv[1])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    torch.set_num_threads(cores or 1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    height, width, channels = settings["image"]
    batch = settings["batch"]
    images = torch.randint(0, 256, (2048, channels, height, width), dtype=torch.uint8)
    images = images.to(device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, CLASSES, (2048,), device=device)
    network = make_network(settings["network"], (height, width, channels)).to(device)
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        chosen = torch.randint(0, 2048, (batch,), device=device)
        inputs = (images[chosen].float() - 127.5) / 73.9
        optimizer.zero_grad()
        F.cross_entropy(network(inputs), labels[chosen]).backward()
        optimizer.step()

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    print(json.dumps({"version": torch.__version__}), flush=True)
    for line in sys.stdin:
        begin = time.perf_counter()
        for _ in range(int(line)):
            step()
        wait()
        print(json.dumps({"seconds": time.perf_counter() - begin}), flush=True)


if __name__ == "__main__":
    main()
