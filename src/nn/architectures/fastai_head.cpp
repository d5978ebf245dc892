#include "nn/architectures/fastai_head.h"

namespace onecycle {

void fastai_head(Network& net, int x, int classes, double dropout) {
    x = net.batch_norm("head.bn1", net.concat_pool(x), Initial::fastai);
    x = net.linear("head.fc1", net.dropout(x, dropout / 2), 512, false, Initial::fastai);
    x = net.batch_norm("head.bn2", net.relu(x), Initial::fastai);
    net.linear("head.fc2", net.dropout(x, dropout), classes, false, Initial::fastai);
}

}  // namespace onecycle
