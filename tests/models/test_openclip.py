"""open_clip starts without the libraries that few models need, and has them as soon as one does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

#: Imported by open_clip for towers of Hugging Face's and timm's, for beam search, and by torchvision.
SELDOM_NEEDED = {"transformers", "timm", "torch._dynamo"}

TEXTS = {"context_length": 8, "width": 32, "heads": 2, "layers": 1}
PICTURES = {"image_size": 16, "patch_size": 8, "width": 32, "layers": 1, "head_width": 16}


def run(program: str) -> str:
    """Return what a program prints in a process of its own, where nothing has been imported yet."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return done.stdout.strip()


def architecture(folder: Path, **parts: object) -> str:
    path = folder / "tiny.json"
    path.write_text(json.dumps({"embed_dim": 16, "vision_cfg": PICTURES, "text_cfg": TEXTS, **parts}))
    return str(path)


def bert(folder: Path) -> str:
    """A tiny text tower of Hugging Face's with its tokenizer, on disk."""
    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "cat"]
    (folder / "vocab.txt").write_text("\n".join(words))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = {"model_type": "bert", "vocab_size": len(words), "max_position_embeddings": 8, **sizes}
    (folder / "config.json").write_text(json.dumps(config))
    weights = {"embeddings.position_embeddings.weight": np.zeros((8, 32), np.float32)}  # the rest is drawn
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


def test_a_plain_model_needs_none_of_them(tmp_path: Path) -> None:
    name = architecture(tmp_path)
    imported = run(
        "import sys, torch, pgsbench.checkpoints; from pgsbench.models.clip import build\n"
        f"clip = build({name!r}, seed=0)\n"
        "clip.model(torch.zeros(1, 3, 16, 16), clip.tokenize(['a cat']))\n"
        "print(*sys.modules)"
    ).split()
    assert "open_clip" in imported
    assert not set(imported) & SELDOM_NEEDED


def test_a_text_tower_of_hugging_faces_and_its_tokenizer(tmp_path: Path) -> None:
    folder = bert(tmp_path / "bert")
    text = {"hf_model_name": folder, "hf_tokenizer_name": folder, "hf_pooler_type": "cls_pooler"}
    name = architecture(tmp_path, text_cfg={**text, "context_length": 8})
    printed = run(
        "import pickle; from pgsbench.models.clip import build\n"
        f"clip = build({name!r}, seed=0)\n"
        "ids = clip.tokenize(['a red cat'])\n"
        "print(type(clip.model.text).__name__, *clip.model.encode_text(ids).shape, ids.tolist()[0][:6])\n"
        "pickle.dumps(clip.model)"
    )
    assert printed == "HFTextEncoder 1 16 [2, 5, 6, 7, 3, 0]"


NAMES = (
    "import sys\n"
    "for module in ('hf_model', 'timm_model', 'coca_model'):\n"
    "    for name, value in sorted(vars(sys.modules['open_clip.' + module]).items()):\n"
    "        print(module, name, getattr(value, '__module__', 0), getattr(value, '__name__', type(value)))\n"
    "print(open_clip.coca_model._has_transformers)"
)


def test_a_users_own_call_completes_open_clip(tmp_path: Path) -> None:
    """After the first model that needs a library, all names are those of a plain import of open_clip."""
    tower = {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "token", "timm_proj": "linear"}
    name = architecture(tmp_path, vision_cfg={**tower, "image_size": 224})
    build = f"open_clip.add_model_config({name!r}); model = open_clip.create_model('tiny')\n"
    call = "import torch; assert model.encode_image(torch.zeros(1, 3, 224, 224)).shape == (1, 16)\n"
    ours = run("import pgsbench.models.clip, open_clip\n" + build + call + NAMES)
    assert "timm_model RotAttentionPool2d" in ours
    assert ours == run("import open_clip\n" + NAMES)
