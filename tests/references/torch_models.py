"""The publishers' PyTorch networks, with their own names of layers."""

from torch import nn


class AlexNet(nn.Module):
    """``features``, pooling, ``classifier``, as torchvision's and DeepSpark's."""

    def __init__(self, features, pool, classifier):
        super().__init__()
        self.features = nn.Sequential(*features)
        self.pool = pool
        self.classifier = classifier

    def forward(self, x):
        return self.classifier(self.pool(self.features(x)).flatten(1))


def _dense(features, num_classes, rate):
    widths = (features, 4096, 4096)
    hidden = [
        layer
        for i in range(2)
        for layer in (nn.Dropout(rate), nn.Linear(widths[i], widths[i + 1]), nn.ReLU())
    ]
    return nn.Sequential(*hidden, nn.Linear(4096, num_classes))


def torchvision(num_classes):
    rows = ((3, 64, 11, 4, 2, True), (64, 192, 5, 1, 2, True), (192, 384, 3, 1, 1, False))
    rows += ((384, 256, 3, 1, 1, False), (256, 256, 3, 1, 1, True))
    features = []
    for inputs, outputs, kernel, stride, padding, pooled in rows:
        features += [nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.ReLU()]
        features += [nn.MaxPool2d(3, 2)] if pooled else []
    return AlexNet(features, nn.AdaptiveAvgPool2d(6), _dense(256 * 36, num_classes, 0.5))


def deepspark(num_classes):
    rows = ((3, 64, 2, True), (64, 192, 1, True), (192, 384, 1, False))
    rows += ((384, 256, 1, False), (256, 1024, 1, True))
    features = []
    for inputs, outputs, stride, pooled in rows:
        features += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
        features += [nn.MaxPool2d(2)] if pooled else []
    return AlexNet(features, nn.AdaptiveAvgPool2d(1), _dense(1024, num_classes, 0.2))


def cifar32(num_classes):
    rows = ((3, 64, 11, 4, 5, True), (64, 192, 5, 1, 2, True), (192, 384, 3, 1, 1, False))
    rows += ((384, 256, 3, 1, 1, False), (256, 256, 3, 1, 1, True))
    features = []
    for inputs, outputs, kernel, stride, padding, pooled in rows:
        features += [nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.ReLU()]
        features += [nn.MaxPool2d(2)] if pooled else []
    return AlexNet(features, nn.Identity(), nn.Linear(256, num_classes))
