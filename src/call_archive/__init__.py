"""Call Archive: the audio that Amazon Connect streams into KVS, one call, one WAV, one manifest."""

__version__ = "0.1.0"
