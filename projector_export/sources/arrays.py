"""Files of named arrays: .npy, .npz, .pt and .safetensors. Nothing is ever unpickled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from projector_export.errors import DataError, MissingExtraError


def _read_npy(path: Path) -> dict[str, Any]:
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise _not_readable(path, error) from error
    if not isinstance(loaded, np.ndarray):
        loaded.close()
        raise DataError(f"{path} is an .npz archive; rename it to end in .npz")
    return {path.stem: loaded}


def _read_npz(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {path.stem: loaded}
            with loaded:
                return {key: loaded[key] for key in loaded.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _not_readable(path, error) from error


def _not_readable(path: Path, error: Exception) -> DataError:
    with open(path, "rb") as stream:
        start = stream.read(6)
    is_numpy = start == b"\x93NUMPY" or start[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04")
    if is_numpy and ("pickle" in str(error) or "Python objects" in str(error)):
        return DataError(
            f"{path} holds pickled Python objects, which can run code when loaded; expected a "
            "numeric array: save it again with np.save(path, array.astype('float32'))"
        )
    reason = "no NumPy header" if "pickle" in str(error) else _reason(error)
    return DataError(f"{path} cannot be read as NumPy data ({reason}); save it again with np.save")


def import_torch(path: Path) -> Any:
    """Return the module `torch`, which reads the file.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError(
            f"{path} needs torch, which is not installed: pip install 'projector-export[training]'"
        ) from error
    return torch


def _read_pt(path: Path) -> dict[str, Any]:
    torch = import_torch(path)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever bytes that are no checkpoint make the unpickler raise
        raise DataError(
            f"{path} cannot be loaded with weights_only=True ({_reason(error)}); "
            "expected a tensor or a dict of tensors: save it with torch.save(tensor, path)"
        ) from error
    found = loaded if isinstance(loaded, dict) else {path.stem: loaded}
    tensors = {str(k): v for k, v in found.items() if isinstance(v, torch.Tensor)}
    arrays = {key: array_from_torch(tensor, path) for key, tensor in tensors.items()}
    if not arrays:
        raise DataError(
            f"{path} holds {type(loaded).__name__}; expected a tensor or a dict of them"
        )
    return arrays


def array_from_torch(tensor: Any, path: Path) -> np.ndarray:
    """Return a tensor as an array of its shape; sparse becomes dense, bfloat16 float32.

    The array may share the tensor's memory.

    Raises:
        DataError: NumPy has no such type.
    """
    import torch

    tensor = tensor.detach()
    if tensor.is_sparse:
        tensor = tensor.to_dense()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    try:
        array: np.ndarray = tensor.numpy()
    except TypeError as error:
        raise DataError(f"{path} holds {tensor.dtype}; convert it to float32 first") from error
    return array


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as archive:
            names = archive.keys()
            return {key: archive.get_tensor(key) for key in names}
    except (TypeError, AttributeError) as error:  # types that NumPy does not have
        try:
            from safetensors.torch import load_file
        except ImportError:
            raise DataError(
                f"{path} holds a type that NumPy does not have; save it as float32, or "
                "pip install 'projector-export[training]' for bfloat16"
            ) from error
        return {key: array_from_torch(tensor, path) for key, tensor in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} cannot be read as safetensors ({error})") from error


ARRAY_READERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".pt": _read_pt,
    ".safetensors": _read_safetensors,
}
"""Reads a file into arrays by name; raises DataError where it is no such file."""
