"""Every standard part, registered through the same hook as those of any plugin."""

from __future__ import annotations

from collections.abc import Callable

from genprior import Part, hookimpl
from genprior_std.conditioners.infogan import InfoGAN
from genprior_std.conditioners.label import Label
from genprior_std.conditioners.none import NoCondition
from genprior_std.conditioners.partial_label import PartialLabel
from genprior_std.conditioners.sentence import Sentence
from genprior_std.datasets.arrays import Arrays
from genprior_std.datasets.captioned_digits import CaptionedDigits
from genprior_std.datasets.cifar10 import Cifar10
from genprior_std.datasets.digits import Digits
from genprior_std.datasets.fashion_mnist import FashionMnist
from genprior_std.datasets.flowers102 import Flowers102
from genprior_std.datasets.folder import Folder
from genprior_std.datasets.memory import Memory
from genprior_std.datasets.mnist import Mnist
from genprior_std.datasets.svhn import Svhn
from genprior_std.datasets.webdataset import WebDataset
from genprior_std.embedders.lsa import LatentSemanticAnalysis
from genprior_std.exporters.code_grid import CodeGrid
from genprior_std.exporters.grid import Grid
from genprior_std.exporters.label_grid import LabelGrid
from genprior_std.exporters.npz import Npz
from genprior_std.figures.fig7_gans import SamplesOfGans
from genprior_std.figures.fig8_codes import SmallCodes
from genprior_std.figures.fig9_high_dimension import LargeCodes
from genprior_std.figures.fig10_supervised import SupervisedGrid
from genprior_std.figures.fig11_codes import SupervisedCodes
from genprior_std.figures.fig12_unsupervised import UnsupervisedGrid
from genprior_std.figures.fig13_codes import UnsupervisedCodes
from genprior_std.figures.fig14_text import ImagesOfSentences
from genprior_std.figures.fig15_colours import ColourSweep
from genprior_std.games.began import BoundaryEquilibrium
from genprior_std.games.catgan import CategoricalGame
from genprior_std.games.dfm import DenoisingFeatureMatching
from genprior_std.games.hinge import Hinge
from genprior_std.games.least_squares import LeastSquares
from genprior_std.games.minimax import Minimax
from genprior_std.games.nonsaturating import NonSaturating
from genprior_std.games.relativistic import Relativistic
from genprior_std.games.wasserstein_gp import WassersteinGradientPenalty
from genprior_std.hooks.mlflow import MLflow
from genprior_std.hooks.pictures import Pictures
from genprior_std.hooks.tensorboard import TensorBoard
from genprior_std.hooks.trackio import Trackio
from genprior_std.hooks.wandb import WeightsAndBiases
from genprior_std.models.aae import AdversarialAutoencoder
from genprior_std.models.aae_clustering import ClusteringAutoencoder
from genprior_std.models.aae_dimension_reduction import DimensionReductionAutoencoder
from genprior_std.models.aae_semi_supervised import SemiSupervisedAutoencoder
from genprior_std.models.autoencoder import Autoencoder
from genprior_std.models.gan import GenerativeAdversarialNetwork
from genprior_std.models.hvae import HierarchicalVariationalAutoencoder
from genprior_std.models.iwae import ImportanceWeightedAutoencoder
from genprior_std.models.labels_alone import LabelledClassifier
from genprior_std.models.ncrp_vae import NestedCrpAutoencoder
from genprior_std.models.pixelcnn import PixelConvolutionalNetwork
from genprior_std.models.pixelgan import PixelGanAutoencoder
from genprior_std.models.pixelgan_semi_supervised import SemiSupervisedPixelGan
from genprior_std.models.rae import RegularisedAutoencoder
from genprior_std.models.vae import VariationalAutoencoder
from genprior_std.models.vae_gan import VaeGan
from genprior_std.models.wae import WassersteinAutoencoder
from genprior_std.networks.autoencoder_critic import AutoencoderCritic
from genprior_std.networks.began_decoder import BeganDecoder
from genprior_std.networks.code_mlp import CodeCritic
from genprior_std.networks.dcgan_critic import DcganCritic
from genprior_std.networks.dcgan_decoder import DcganDecoder
from genprior_std.networks.gated_convolutional_decoder import GatedConvolutionalDecoder
from genprior_std.networks.gated_convolutional_encoder import GatedConvolutionalEncoder
from genprior_std.networks.gated_mlp_decoder import GatedMlpDecoder
from genprior_std.networks.gated_mlp_encoder import GatedMlpEncoder
from genprior_std.networks.image_convolutional import ConvolutionalImageCritic
from genprior_std.networks.image_mlp import MlpImageCritic
from genprior_std.networks.infogan_critic import InfoganCritic
from genprior_std.networks.infogan_decoder import InfoganDecoder
from genprior_std.networks.larsen_critic import LarsenCritic
from genprior_std.networks.larsen_decoder import LarsenDecoder
from genprior_std.networks.larsen_encoder import LarsenEncoder
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.networks.pixelcnn_decoder import PixelCnnDecoder
from genprior_std.networks.residual_decoder import ResidualDecoder
from genprior_std.networks.residual_encoder import ResidualEncoder
from genprior_std.networks.strided_encoder import StridedEncoder
from genprior_std.networks.wgan_resnet_critic import WganResnetCritic
from genprior_std.networks.wgan_resnet_decoder import WganResnetDecoder
from genprior_std.optimisers.adam import Adam
from genprior_std.optimisers.adam_norm_grad import AdamNormGrad
from genprior_std.optimisers.adamw import AdamW
from genprior_std.optimisers.muon import Muon
from genprior_std.optimisers.rmsprop import Rmsprop
from genprior_std.optimisers.sgd import Sgd
from genprior_std.priors.categorical import Categorical
from genprior_std.priors.categorical_gaussian import CategoricalGaussian
from genprior_std.priors.code_gan import CodeGan
from genprior_std.priors.code_generator import CodeGenerator
from genprior_std.priors.conditional_gaussian import ConditionalGaussian
from genprior_std.priors.diffusion import Diffusion
from genprior_std.priors.exemplar import Exemplar
from genprior_std.priors.flow import Flow
from genprior_std.priors.flow_matching import FlowMatching
from genprior_std.priors.gaussian import Gaussian
from genprior_std.priors.gaussian_mixture import GaussianMixture
from genprior_std.priors.kde import KernelDensity
from genprior_std.priors.latent_ebm import LatentEnergy
from genprior_std.priors.mixture import Mixture
from genprior_std.priors.nearest import Nearest
from genprior_std.priors.nested_crp import NestedCrp
from genprior_std.priors.noise_contrastive import NoiseContrastive
from genprior_std.priors.resampled import Resampled
from genprior_std.priors.sphere import Sphere
from genprior_std.priors.student_t import StudentT
from genprior_std.priors.swiss_roll import SwissRoll
from genprior_std.priors.two_stage_vae import TwoStageVae
from genprior_std.priors.uniform import Uniform
from genprior_std.priors.vampprior import VampPrior
from genprior_std.reconstruction.discretised_logistic import DiscretisedLogistic
from genprior_std.reconstruction.learned_similarity import LearnedSimilarity
from genprior_std.reconstruction.pixel import Pixel
from genprior_std.schedules.constant import Constant
from genprior_std.schedules.cosine import Cosine
from genprior_std.schedules.linear import Linear
from genprior_std.schedules.piecewise import Piecewise
from genprior_std.schedules.plateau import Plateau
from genprior_std.schedules.step import Step
from genprior_std.scores.active_units import ActiveUnits
from genprior_std.scores.bits_per_dim import BitsPerDimension
from genprior_std.scores.caption_accuracy import CaptionAccuracy
from genprior_std.scores.category_purity import CategoryPurity
from genprior_std.scores.classifier_score import ClassifierScore
from genprior_std.scores.cluster_error import ClusterError
from genprior_std.scores.code_mmd import CodeMMD
from genprior_std.scores.density_coverage import DensityCoverage
from genprior_std.scores.elbo import EvidenceLowerBound
from genprior_std.scores.error_rate import ErrorRate
from genprior_std.scores.fid import FID
from genprior_std.scores.inception_score import InceptionScore
from genprior_std.scores.kid import KID
from genprior_std.scores.label_accuracy import LabelAccuracy
from genprior_std.scores.memorisation import Memorisation
from genprior_std.scores.nearest_distance import NearestDistance
from genprior_std.scores.nll import NegativeLogLikelihood
from genprior_std.scores.parzen import Parzen
from genprior_std.scores.precision_recall import PrecisionRecall
from genprior_std.scores.reconstruction_fid import ReconstructionFID
from genprior_std.scores.style_consistency import StyleConsistency

__all__ = ["PARTS", "genprior_parts"]

PARTS: tuple[type[Part], ...] = (
    InfoGAN,
    Label,
    NoCondition,
    PartialLabel,
    Sentence,
    Arrays,
    CaptionedDigits,
    Cifar10,
    Digits,
    FashionMnist,
    Flowers102,
    Folder,
    Memory,
    Mnist,
    Svhn,
    WebDataset,
    LatentSemanticAnalysis,
    CodeGrid,
    Grid,
    LabelGrid,
    Npz,
    SupervisedGrid,
    SupervisedCodes,
    UnsupervisedGrid,
    UnsupervisedCodes,
    ImagesOfSentences,
    ColourSweep,
    SamplesOfGans,
    SmallCodes,
    LargeCodes,
    MLflow,
    Pictures,
    TensorBoard,
    Trackio,
    WeightsAndBiases,
    BoundaryEquilibrium,
    CategoricalGame,
    DenoisingFeatureMatching,
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    Relativistic,
    WassersteinGradientPenalty,
    AdversarialAutoencoder,
    ClusteringAutoencoder,
    DimensionReductionAutoencoder,
    SemiSupervisedAutoencoder,
    Autoencoder,
    GenerativeAdversarialNetwork,
    HierarchicalVariationalAutoencoder,
    ImportanceWeightedAutoencoder,
    LabelledClassifier,
    NestedCrpAutoencoder,
    PixelConvolutionalNetwork,
    PixelGanAutoencoder,
    SemiSupervisedPixelGan,
    RegularisedAutoencoder,
    VariationalAutoencoder,
    VaeGan,
    WassersteinAutoencoder,
    AutoencoderCritic,
    BeganDecoder,
    CodeCritic,
    DcganCritic,
    DcganDecoder,
    GatedConvolutionalDecoder,
    GatedConvolutionalEncoder,
    GatedMlpDecoder,
    GatedMlpEncoder,
    ConvolutionalImageCritic,
    MlpImageCritic,
    InfoganCritic,
    InfoganDecoder,
    LarsenCritic,
    LarsenDecoder,
    LarsenEncoder,
    MlpDecoder,
    MlpEncoder,
    PixelCnnDecoder,
    ResidualDecoder,
    ResidualEncoder,
    StridedEncoder,
    WganResnetCritic,
    WganResnetDecoder,
    Adam,
    AdamNormGrad,
    AdamW,
    Muon,
    Rmsprop,
    Sgd,
    Categorical,
    CategoricalGaussian,
    CodeGan,
    CodeGenerator,
    ConditionalGaussian,
    Diffusion,
    Exemplar,
    Flow,
    FlowMatching,
    Gaussian,
    GaussianMixture,
    LatentEnergy,
    KernelDensity,
    Mixture,
    Nearest,
    NestedCrp,
    Resampled,
    Sphere,
    StudentT,
    NoiseContrastive,
    SwissRoll,
    TwoStageVae,
    Uniform,
    VampPrior,
    DiscretisedLogistic,
    LearnedSimilarity,
    Pixel,
    Constant,
    Cosine,
    Linear,
    Piecewise,
    Plateau,
    Step,
    ActiveUnits,
    BitsPerDimension,
    CaptionAccuracy,
    CategoryPurity,
    ClassifierScore,
    ClusterError,
    CodeMMD,
    DensityCoverage,
    EvidenceLowerBound,
    ErrorRate,
    FID,
    InceptionScore,
    KID,
    LabelAccuracy,
    Memorisation,
    NearestDistance,
    NegativeLogLikelihood,
    Parzen,
    PrecisionRecall,
    ReconstructionFID,
    StyleConsistency,
)


@hookimpl
def genprior_parts(register: Callable[[type[Part]], None]) -> None:
    """Offer every standard part."""
    for part in PARTS:
        register(part)
