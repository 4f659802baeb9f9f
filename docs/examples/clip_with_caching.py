"""CLIP with gradient caching: every record of a large batch is a negative, at the memory of a part of it."""

import os

import torch
from sklearn.datasets import load_digits

from sensorium import GradientCache, Learner, build, views

torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.images * 15.9, dtype=torch.uint8)[:, None]
words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
captions = [f"the digit {words[y]}" for y in digits.target]

crops = views.image.random_resized_crop(size=16, channels=1, scale=(0.7, 1.0))
text = views.text.plain(length=24, tokenizer="characters").fit(captions)
learner = Learner(
    {
        "image": build("encoder", "cnn", crops.modality, width=32, depth=3),
        "text": build("encoder", "transformer", text.modality, width=64, depth=2),
    },
    build("objective", "clip", dim=64),
)
optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-3)
PARTS, ROWS = 4, 64

for step in range(int(os.environ.get("STEPS", "60"))):
    parts = []
    for rows in torch.randint(1400, (PARTS, ROWS)):
        texts = text.batch([captions[row] for row in rows])
        parts.append({"image": crops.views(images[rows]), "text": text.views(texts)})
    outcome = GradientCache(parts, learner).backward()  # one loss over PARTS * ROWS pairs
    optimizer.step()
    optimizer.zero_grad()
    if step % 10 == 0:
        print(f"step {step}: loss {outcome.loss.item():.3f}")

learner.eval()
plain = views.image.plain(modality=crops.modality)
with torch.no_grad():
    (view,) = plain.views(torch.nn.functional.interpolate(images[1400:] / 255, size=16))
    z_image = learner.encode("image", view.batch)["embedding"]
    z_text = learner.encode("text", text.batch([f"the digit {word}" for word in words]))["embedding"]
nearest = (torch.nn.functional.normalize(z_image) @ torch.nn.functional.normalize(z_text).T).argmax(1)
accuracy = (nearest == torch.tensor(digits.target[1400:])).float().mean()
print(f"zero-shot accuracy {accuracy:.3f}, chance 0.100")
