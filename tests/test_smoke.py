import graph_metamers as gm


def test_three_lines(small):
    model = gm.zoo.train("gcn", small, training=gm.zoo.Training(epochs=30)).model
    m = gm.metamer(model, small, "layer1", search=gm.Adam(lr=0.05, steps=100))
    assert m.activation_error < 0.1
    assert int(m.data.x.sum()) == int(small.x.sum())
    assert not m.data.x.equal(small.x)
