"""What TensorBoard's Embedding Projector imposes, each with the file that imposes it.

Paths are inside TensorBoard 2.21's `tensorboard/plugins/projector/`; `.ts` files are in its source
repository under `vz_projector/` and compiled into `tf_projector_plugin/projector_binary.js`.
"""

CONFIG_NAME = "projector_config.pbtxt"
"""metadata.py, PROJECTOR_FILENAME."""

MAX_POINTS = 100_000
"""data-provider-server.ts, LIMIT_NUM_POINTS: the browser asks for the first rows only."""

MAX_SPRITE_PX = 8192
"""vz-projector.ts, MAX_SPRITE_IMAGE_SIZE_PX: a larger side refuses the whole embedding."""

MAX_CATEGORIES = 50
"""data-provider.ts, analyzeMetadata: text with more distinct values cannot be coloured by."""

FORBIDDEN_IN_NAMES = "&#+%?/\\:"
"""data-provider-server.ts puts names into query strings unescaped; `name:0` equals `name`
(projector_plugin.py); a name is also a folder's."""

SMOOTH_VALUES = 10_500_000
"""Values (rows x columns) that a browser loads in about 7 s (measured: 51,200,000 took 34 s and
6,400,000 took 4.5 s in Chromium with software rendering)."""

SPHEREIZE_FROM = 50
"""vz-projector.ts, THRESHOLD_DIM_NORMALIZE: from so many columns on, vectors are brought to unit
length."""
