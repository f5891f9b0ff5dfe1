from .detector import Detector as Detector, DetectorConfig as DetectorConfig
from .dense_counting import count_dense as count_dense
from .records import Detections as Detections, Instances as Instances
from .segmenter import Segmenter as Segmenter, SegmenterConfig as SegmenterConfig
from .zoo import MODELS as MODELS, create as create, names as names
from .folder import ImageModel as ImageModel, load_images as load_images, save_images as save_images
from .training.fit import fit_images as fit_images
from .sequence_length import SequenceLength as SequenceLength, sequence_lengths as sequence_lengths
