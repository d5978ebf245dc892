"""The settings of the study of learning rates: what is trained, with which rates, and what is trained next."""
import dataclasses

HALF_DECADES = [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0]


@dataclasses.dataclass(frozen=True)
class Setting:
    name: str
    data: str  # of study_data.Sources
    images: int
    px: int
    batch: int
    epochs: int
    arch: str = "resnet18"
    optimizer: str = "sgd"
    classes: int = 0  # the first so many; 0: all
    unbalanced: bool = False
    extra: tuple = ()  # further options of all verbs
    init: str = ""  # the PRETRAINED network that it is fine-tuned from; "": from scratch
    head_only: bool = False  # the body stays frozen
    chosen_with: bool = False  # the rule was chosen by it; else set aside: looked at when the rule stood

    @property
    def grid(self):
        """The rates that are tried first: those around the best that one would expect."""
        if self.optimizer == "sgd":
            return [3e-3, 1e-2, 3e-2]
        return [1e-3, 3e-3, 1e-2] if self.init else [3e-4, 1e-3, 3e-3]


def tuned(name, data, images, px, batch, epochs, init, optimizer="adamw", **more):
    return Setting(name, data, images, px, batch, epochs, init=init, optimizer=optimizer, **more)


S = Setting
CHOSEN_WITH = [dataclasses.replace(setting, chosen_with=True) for setting in (
    S("pairs-b64", "pairs", 4000, 48, 64, 3),
    S("all25-b64", "all", 2900, 32, 64, 5),
    S("cifar-2000-b64", "cifar", 2000, 32, 64, 8),
    S("flowers-1000-b32", "flowers", 1000, 48, 32, 6),
    S("signs-800-34-b16", "signs", 800, 32, 16, 5, "resnet34"),
    S("fashion-3000-b64", "fashion", 3000, 32, 64, 3),
    S("cifar-5000-b128", "cifar", 5000, 32, 128, 4),
    S("demo-18-b32", "demo5", 1000, 48, 32, 6),
    tuned("tune-flowers-300", "flowers", 300, 64, 32, 5, "cifar"),
    S("flowers-300-b64", "flowers", 300, 64, 64, 12),
    S("cifar-600-3", "cifar", 600, 32, 32, 12, classes=3),
    S("adamw-flowers-b64", "flowers", 1500, 48, 64, 4, optimizer="adamw"),
    S("demo-b8", "demo3", 300, 48, 8, 8),
    S("cifar-10000-b256", "cifar", 10000, 32, 256, 3),
    S("signs-1300-b32", "signs", 1300, 48, 32, 5),
    S("cifar-unbalanced", "cifar", 2400, 32, 32, 4, unbalanced=True),
    tuned("tune-signs", "signs", 1300, 48, 32, 4, "cifar"),
    S("flowers-300-b16", "flowers", 300, 48, 16, 20),
    S("adamw-cifar-b64", "cifar", 4000, 32, 64, 3, optimizer="adamw"),
    S("flowers-all-b64", "flowers", 2900, 48, 64, 4),
    S("cifar-3000-smooth", "cifar", 3000, 32, 64, 5, extra=("--label-smoothing", "0.1")),
    S("fashion-1000-34-b16", "fashion", 1000, 32, 16, 5, "resnet34"),
    S("outfits-b64", "outfits", 5000, 40, 64, 3),
    tuned("tune-fashion", "fashion", 2000, 32, 64, 3, "cifar"),
    S("cifar-800-b8", "cifar", 800, 32, 8, 4),
)]
SET_ASIDE = [
    S("outfits-b128", "outfits", 5000, 40, 128, 4),
    S("adamw-signs-b32", "signs", 1300, 48, 32, 4, optimizer="adamw"),
    tuned("head-flowers", "flowers", 1000, 48, 32, 6, "cifar", "sgd", head_only=True),
    tuned("tune-flowers-sgd", "flowers", 1000, 48, 32, 4, "cifar", "sgd"),
    S("demo-34-b16", "demo5", 800, 64, 16, 10, "resnet34"),
    S("adamw-demo-b16", "demo5", 800, 48, 16, 6, optimizer="adamw"),
    S("cifar-10000-b64", "cifar", 10000, 32, 64, 2),
    S("signs-1300-b64", "signs", 1300, 48, 64, 8),
    S("signs-800-50-b16", "signs", 800, 32, 16, 4, "resnet50"),
    S("flowers-all-b128", "flowers", 2900, 40, 128, 6),
    S("cifar-400-small-b32", "cifar", 400, 32, 32, 4, extra=("--stem", "small")),
    S("cifar-3000-mixup", "cifar", 3000, 32, 64, 5, extra=("--mixup", "0.4")),
    S("cifar-2000-34-b32", "cifar", 2000, 32, 32, 4, "resnet34"),
    S("fashion-10000-b256", "fashion", 10000, 32, 256, 2),
    S("flowers-600-50-b32", "flowers", 600, 32, 32, 8, "resnet50"),
    S("demo8-b64", "demo8", 2000, 48, 64, 6),
    S("adamw-cifar-b256", "cifar", 8000, 32, 256, 3, optimizer="adamw"),
    S("flowers-400-128px", "flowers", 400, 128, 16, 4),
    tuned("tune-cifar", "cifar", 2000, 32, 64, 3, "flowers"),
    S("flowers-200-3", "flowers", 200, 48, 32, 15, classes=3),
]
SETTINGS = CHOSEN_WITH + SET_ASIDE

# The networks that fine-tuning starts from: trained here, on all images of a set.
PRETRAINED = {
    "cifar": ["--arch", "resnet18", "--size", 32, "--batch-size", 64, "--epochs", 3, "--max-lr", 0.05],
    "flowers": ["--arch", "resnet18", "--size", 48, "--batch-size", 64, "--epochs", 8, "--max-lr", 0.03],
}


def training(setting, weights):
    """The training's verb and options; weights: the file to start from."""
    options = ["--size", setting.px, "--batch-size", setting.batch, "--epochs", setting.epochs,
               "--optimizer", setting.optimizer, *setting.extra]
    if not setting.init:
        return ["train", "--arch", setting.arch, *options]
    return ["finetune", "--init", weights, *(["--one-cycle-only"] if setting.head_only else []), *options]


def range_test(setting, weights):
    """The options of `find` that make it look at the very network of training(): those that finetune implies, too."""
    verb, *options = training(setting, weights)
    if verb == "train":
        return ["find", *options]
    stages = ["--policy", "onecycle:fastai", "--freeze", "body"] if setting.head_only else [
        "--policy", "fine-tune", "--freeze-epochs", 1, "--lr-mult", 100]
    return ["find", "--arch", setting.arch, "--head", "fastai", *stages,
            *(word for word in options if word != "--one-cycle-only")]


def wanted(setting, trained, seeds):
    """The trainings that are wanted next: (seed, rates), or None when there are enough.

    trained: {rate: {seed: result}}. First the grid with seed 0, and half decades beyond it for as long as the best loss
    or the best accuracy is at an end of it. Then the other seeds, at the best rates and their neighbours."""
    done = {rate: results[0] for rate, results in sorted(trained.items()) if 0 in results}
    if missing := [rate for rate in setting.grid if rate not in done]:
        return 0, missing
    rates = list(done)
    best = {min(rates, key=lambda rate: loss_of(done[rate])), max(rates, key=lambda rate: done[rate]["accuracy"])}
    for end, step in ((rates[-1], 1), (rates[0], -1)):
        beyond = HALF_DECADES.index(end) + step
        if end in best and 0 <= beyond < len(HALF_DECADES):
            return 0, [HALF_DECADES[beyond]]
    near = [rate for i, rate in enumerate(rates) if best & set(rates[max(0, i - 1):i + 2])]
    for seed in range(1, seeds):
        if missing := [rate for rate in near if seed not in trained[rate]]:
            return seed, missing
    return None


def loss_of(result, diverged=20.0):
    """The loss of a training; one that diverged has none, and counts as worse than any that did not."""
    return diverged if result["loss"] is None else result["loss"]
