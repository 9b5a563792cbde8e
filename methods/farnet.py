"""FARNet (Ao and Wu, "Feature Aggregation and Refinement Network for 2D Anatomical Landmark Detection", 2023)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from typing_extensions import override

from datamodules.components.transforms import Interpolation
from methods.base import Batch, LandmarkSchema, Paper, Pixels, Prediction
from methods.components.bases.heatmaps import FARNetTraining, Heatmaps
from methods.components.heatmap import Codec
from methods.components.images.intensity import imagenet, standardize
from methods.components.losses import adaptive_wing, ewc, l2
from methods.components.networks.backbones import Weights, film_statistics
from methods.components.networks.feature_aggregation import Fusion, MultiScaleFeatureAggregation, conv
from methods.components.networks.feature_pyramid import FeaturePyramid
from methods.components.optim import Optimizer

Refinement = Literal["none", "naive", "full"]
Loss = Literal["ewc", "l2", "aw"]
GRID_SHIFT = 0.5
"""Heatmap pixels between a grid whose first pixel is 0 or 1 and ours, whose first pixel reaches from -.5 to .5."""
TRAINING = (
    "Adam at 1e-4, a tenth of it after two thirds of the training, as in the authors' public code; the paper prints "
    "Adadelta at 1e-4 (optimizer=adadelta), which hardly moves a weight.",
    "The epoch with the lowest error on validation films, a tenth of the training films, is the result; the paper "
    "validates on ISBI's test1, its public code trains on all films and takes the last epoch.",
    "Augmentation (augment=True: hand and spine) has the numbers of Payer et al.'s public code; the paper gives none; "
    "it refers to Payer et al. for the hand and to BoostNet for the spine (Sec. 4.2).",
)
WEIGHTS = (
    "Without weights=imagenet the backbone starts at random; the paper's starts from ImageNet, in the public code with "
    "torchvision's weights, which the names of the backbones here mean."
)
PAPER_CODE = (
    "farnet-paper-code does as the public code where the text does not say: grey values 0..255 under ImageNet's mean "
    "and deviation for 0..1, targets counted from 1 and decoded from 0, BatchNorm by the statistics of one film, a 1x1 "
    "convolution over the film, bilinear resizing, the last epoch; isbi2015's protocols official-150 and "
    "official-150-truncated have its training films and its truth."
)


class FARNet(FARNetTraining):
    """A pretrained backbone, multi-scale feature aggregation (MSFA) and feature refinement (FR).

    MSFA answers coarse heatmaps at half resolution, FR fine ones at the film's; both are supervised with the EWC loss.

    `farnet-paper-code` repeats what the authors' public code does and their text does not say, so that its numbers can
    be compared. Each is a switch of its own:

    * `divide_by_255=False`: grey values stay 0..255 before ImageNet's mean and deviation, which are for 0..1;
    * `one_based_targets`: targets stand on a grid that counts from 1 and are decoded on one that counts from 0; a
      perfect fit misses every landmark by one network pixel in x and in y, .43 mm on ISBI;
    * `batch_statistics`: BatchNorm always takes the statistics of the one film it sees;
    * `film_kernel=1`: FR reads the film by a 1x1 convolution;
    * `interpolation="bilinear"`: films shrink without averaging, see `InputSpec`;
    * `checkpoint="last"`: the last epoch is the result.

    That all 150 films train is the protocol `isbi2015/official-150`; that the truth it is scored against is cut off to
    whole pixels of the film is `isbi2015/official-150-truncated`. ImageNet weights are `weights=imagenet`, as always.
    """

    paper = Paper(
        "Feature Aggregation and Refinement Network for 2D Anatomical Landmark Detection",
        "Ao and Wu",
        2023,
        "https://doi.org/10.1007/s10278-022-00718-4",
        differs=(
            *TRAINING,
            WEIGHTS,
            PAPER_CODE,
            "17,858,468 parameters of the public code, of layers that nothing uses, are left out; 61,218,963 are left.",
            "Adaptive Wing is used without its authors' weighted loss map, which the paper does not mention.",
            "The paper's MSFA (+) is not drawn: fused maps are matched by 1x1 convolutions, added, and smoothed by a "
            "3x3.",
        ),
        weights="imagenet",
    )
    variants: ClassVar = {
        "farnet": {},
        "farnet-vgg16": {"backbone_name": "vgg16.tv_in1k", "epochs": 900},
        "farnet-vgg19": {"backbone_name": "vgg19.tv_in1k", "epochs": 900},
        "farnet-resnet101": {"backbone_name": "resnet101.tv_in1k"},
        "farnet-resnet152": {"backbone_name": "resnet152.tv_in1k"},
        "farnet-densenet169": {"backbone_name": "densenet169.tv_in1k"},
        "farnet-msfa-add": {"fusion": "add", "refinement": "none", "loss": "l2"},
        "farnet-msfa": {"refinement": "none", "loss": "l2"},
        "farnet-msfa-fr-naive": {"refinement": "naive", "loss": "l2"},
        "farnet-msfa-fr": {"loss": "l2"},
        "farnet-aw": {"loss": "aw"},
        "farnet-paper-code": {
            "divide_by_255": False,
            "one_based_targets": True,
            "batch_statistics": True,
            "film_kernel": 1,
            "interpolation": "bilinear",
            "checkpoint": "last",
        },
    }
    version = 2
    smoke: ClassVar = {"backbone_name": "test_resnet", "width": 16, "input_size": (64, 64), "sigma": 3.0}
    alpha: float
    divide_by_255: bool
    one_based_targets: bool
    batch_statistics: bool

    def __init__(
        self,
        schema: LandmarkSchema,
        backbone_name: str = "densenet121.tv_in1k",
        fusion: Fusion = "concatenate",
        refinement: Refinement = "full",
        loss: Loss = "ewc",
        alpha: float = 40.0,
        width: int = 256,
        input_size: tuple[int, int] = (800, 640),
        sigma: Pixels = 10.0,
        codec: Codec = "argmax",
        epochs: int = 300,
        batch_size: int = 1,
        lr: float = 1e-4,
        augment: bool = False,
        optimizer: Optimizer = "adam",
        weights: Weights = "none",
        divide_by_255: bool = True,
        one_based_targets: bool = False,
        batch_statistics: bool = False,
        film_kernel: int = 3,
        interpolation: Interpolation = "area",
        checkpoint: Literal["best", "last"] = "best",
    ) -> None:
        super().__init__(schema)
        self.loss_name = loss
        self.statistics = film_statistics(backbone_name, weights)
        pyramid = FeaturePyramid(backbone_name, weights)
        self.network = FARNetwork(pyramid, len(schema), width, fusion, refinement, film_kernel)
        if batch_statistics:
            _use_batch_statistics(self.network)

    @property
    @override
    def stride(self) -> int:
        """That of FR's heatmaps, or of MSFA's where there is no FR."""
        return 2 if self.network.fine is None else 1

    @override
    def forward(self, image: UInt8[Tensor, "batch 1 height width"]) -> dict[int, Heatmaps]:
        """Return the heatmaps of MSFA (stride 2) and of FR (stride 1), as far as the variant has them."""
        film = imagenet(image, self.statistics) if self.divide_by_255 else standardize(image.float())
        return {stride: heatmap.float() for stride, heatmap in self.network(film).items()}

    @override
    def targets(self, points: Float[Tensor, "batch landmark 2"], size: tuple[int, int], stride: int) -> Heatmaps:
        """Render Eq. 1; a grid that counts from 1 lies half a heatmap pixel to the lower right of ours."""
        return super().targets(points - GRID_SHIFT * stride * self.one_based_targets, size, stride)

    @override
    def criterion(self, predicted: Heatmaps, target: Heatmaps, visible: Bool[Tensor, "batch landmark"]) -> Tensor:
        """Exponential Weighted Center loss (Eq. 3), L2 (Eq. 2) or Adaptive Wing."""
        if self.loss_name == "ewc":
            return ewc(predicted, target, visible, self.alpha)
        return (adaptive_wing if self.loss_name == "aw" else l2)(predicted, target, visible)

    @override
    def predict(self, batch: Batch) -> Prediction:
        """Take the peaks; with `batch_statistics` of each film alone, so that no film depends on its batch."""
        if not self.batch_statistics:
            return super().predict(batch)
        read = [super(FARNet, self).predict(batch._replace(image=film[None])) for film in batch.image]
        spread = [each.covariance for each in read if each.covariance is not None]
        return Prediction(torch.cat([each.points for each in read]), torch.cat(spread))

    @override
    def read(self, heatmap: Heatmaps) -> Prediction:
        """Decode; a grid that counts from 0 lies half a heatmap pixel to the upper left of ours."""
        read = super().read(heatmap)
        return read._replace(points=read.points - GRID_SHIFT * self.stride * self.one_based_targets)


class FARNetwork(nn.Module):
    """Fig. 2: backbone, MSFA, FR.

    Args:
        backbone: Feature maps at strides 2 to 32, or 1 to 16 (VGG).
        landmarks: Number of heatmaps.
        width: Channels of MSFA's paths; 256 in the paper, which also fixes its 128, 64 and 32.
        fusion: How MSFA merges feature maps.
        refinement: `full` is FR under coarse-to-fine supervision, `naive` (FR*) has neither MSFA's heatmaps nor its
            supervision, `none` stops at MSFA's heatmaps.
        film_kernel: Side of FR's convolution over the film; VGG needs none, as its first block is at full resolution.
    """

    def __init__(
        self,
        backbone: FeaturePyramid,
        landmarks: int,
        width: int = 256,
        fusion: Fusion = "concatenate",
        refinement: Refinement = "full",
        film_kernel: int = 3,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.full_resolution = backbone.strides[0] == 1
        channels = backbone.channels[1:] if self.full_resolution else backbone.channels
        self.msfa = MultiScaleFeatureAggregation(channels, width, fusion)
        features, film = width // 4, backbone.channels[0] if self.full_resolution else width // 8
        self.coarse = self.film = self.fine = None
        if refinement != "naive":
            self.coarse = _head(features, landmarks)
        if refinement != "none":
            self.film = None if self.full_resolution else conv(3, film, film_kernel)
            self.fine = _head(features + film + landmarks * (refinement == "full"), landmarks)
        self.upsample = nn.Upsample(scale_factor=2, mode="bilinear")

    def forward(self, film: Float[Tensor, "batch 3 height width"]) -> dict[int, Heatmaps]:
        """Return stride -> heatmaps."""
        scales = self.backbone(film)
        finest = scales.pop(0) if self.full_resolution else film
        features = self.msfa(scales)
        heatmaps = {} if self.coarse is None else {2: self.coarse(features)}
        if self.fine is not None:
            guides = [self.upsample(heatmap) for heatmap in heatmaps.values()]
            finest = finest if self.film is None else self.film(finest)
            heatmaps[1] = self.fine(torch.cat([self.upsample(features), finest, *guides], dim=1))
        return heatmaps


def _head(before: int, landmarks: int) -> nn.Sequential:
    """A 3x3 and a 1x1 convolution, nothing between or behind them."""
    return nn.Sequential(nn.Conv2d(before, before, 3, padding=1), nn.Conv2d(before, landmarks, 1))


def _use_batch_statistics(network: nn.Module) -> None:
    """Let every BatchNorm forget its running statistics, as if never put into evaluation mode."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
