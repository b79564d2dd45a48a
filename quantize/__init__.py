"""The quantization pipeline: a bf16 checkpoint becomes an INT4 GPTQ checkpoint with a measured loss."""
