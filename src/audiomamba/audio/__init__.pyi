from .blocks import Blocks as Blocks, stream as stream
from .fbank import kaldi_fbank as kaldi_fbank
from .files import find as find
from .front_end import FrontEnd as FrontEnd
from .io import load as load
from .model_input import (
    features as features,
    fit_frames as fit_frames,
    log_mel_spectrogram as log_mel_spectrogram,
    normalize as normalize,
    to_decibels as to_decibels,
)
from .mono import to_mono as to_mono
