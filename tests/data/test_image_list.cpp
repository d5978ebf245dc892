// Checkpoints know images by name and contents.
#include <gtest/gtest.h>

#include "data/files.h"
#include "data/image_list.h"

using namespace onecycle;

namespace {

Sample sample(const std::string& name, int label, std::uint64_t content, std::uint64_t bytes = 100) {
    return {.place = ImagePlace("there/" + name, name),
            .label = label,
            .width = 3,
            .height = 2,
            .bytes = bytes,
            .content = content};
}

Dataset folder() {
    Dataset dataset;
    dataset.classes = {"cat", "d\xff\ng", "empty"};
    for (int k = 0; k < 200; ++k)
        dataset.train.push_back(
            sample("cat/" + std::to_string(1000 + k) + ".jpg", 0, 1 + static_cast<std::uint64_t>(k)));
    dataset.train.push_back(sample("d\xff\ng/\x01", 1, 1000, std::uint64_t{1} << 40));
    dataset.valid = {sample("cat/2.jpg", 0, 2000), sample("d\xff\ng/ .jpg", 1, 2001)};
    dataset.automatic_split = true;
    dataset.train_dir = dataset.valid_dir = "there";
    return dataset;
}

void expect_equal(const std::vector<Sample>& a, const std::vector<Sample>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t k = 0; k < a.size(); ++k) {
        EXPECT_EQ(a[k].name(), b[k].name());
        EXPECT_EQ(a[k].label, b[k].label);
        EXPECT_EQ(a[k].bytes, b[k].bytes);
        EXPECT_EQ(a[k].content, b[k].content);
    }
}

}  // namespace

TEST(ImageList, reads_back_whatever_bytes_the_names_have_and_is_small) {
    const Dataset dataset = folder();
    const std::vector<std::uint8_t> bytes = pack(image_list(dataset));
    EXPECT_LE(bytes.size(), 24 * 203u);
    const ImageList list = unpack(bytes);
    EXPECT_EQ(list.classes, dataset.classes);
    EXPECT_TRUE(list.automatic_split);
    expect_equal(list.train, dataset.train);
    expect_equal(list.valid, dataset.valid);
    EXPECT_EQ(pack(list), bytes);
}

TEST(ImageList, damaged_in_any_byte_or_cut_anywhere_it_is_refused_or_read_but_never_more) {
    const std::vector<std::uint8_t> bytes = pack(image_list(folder()));
    for (std::size_t size = 0; size < bytes.size(); ++size)
        EXPECT_THROW(unpack(std::span(bytes).first(size)), std::runtime_error) << size;
    for (std::size_t k = 0; k < bytes.size(); ++k)
        for (const int value : {0, 0x7F, 0x80, 0xFF}) {
            std::vector<std::uint8_t> harmed = bytes;
            harmed[k] = static_cast<std::uint8_t>(value);
            try {
                EXPECT_LE(unpack(harmed).train.size(), bytes.size());
            } catch (const std::runtime_error&) {
            }
        }
}

TEST(ImageList, names_that_would_fill_the_memory_are_refused) {
    ImageList list{.classes = {"a"}};
    const std::string name = "a/" + std::string((1 << 16) - 2, 'x');
    list.train.push_back(sample(name, 0, 1));
    EXPECT_EQ(unpack(pack(list)).train[0].name(), name) << "longer than a path can be";
    list.train.push_back(sample(name + "y", 0, 1));  // takes few bytes of the list
    EXPECT_THROW(unpack(pack(list)), std::runtime_error);
}

TEST(ImageList, a_folder_that_changed_is_the_lists_dataset_with_the_lost_in_their_places) {
    const Dataset dataset = folder();
    const ImageList list = image_list(dataset);
    Dataset found = dataset;
    found.classes = {"cat", "d\xff\ng", "new class"};
    found.train.erase(found.train.begin() + 5);                          // missing
    found.train[10].content = 77;                                        // as large, other contents
    found.train.insert(found.train.begin(), sample("cat/0.jpg", 0, 9));  // new
    found.valid.push_back(found.train[20]);                              // a split of another seed
    found.train.erase(found.train.begin() + 20);
    found.train.erase(found.train.begin() + 31);  // there, but no image any more
    found.bad = {{"there/cat/1032.jpg", "truncated"}, {"there/cat/other.jpg", "truncated"}};
    ListDifference difference;
    const Dataset same = listed_dataset(list, found, difference);
    expect_equal(same.train, dataset.train);
    expect_equal(same.valid, dataset.valid);
    EXPECT_EQ(same.classes, dataset.classes);
    EXPECT_EQ(digest(same), digest(dataset));
    EXPECT_EQ(same.train[5].path(), "there/cat/1005.jpg");
    EXPECT_EQ(same.train[5].width, 0);
    EXPECT_EQ(same.train[6].width, 3);
    EXPECT_EQ(difference.missing, 1u);
    EXPECT_EQ(difference.changed, 2u);
    EXPECT_EQ(difference.added, 1u);
    EXPECT_EQ(difference.known, 200u);
    EXPECT_EQ(difference.gone, (std::set<std::pair<bool, std::int64_t>>{{true, 5}, {true, 11}, {true, 32}}));
    ASSERT_EQ(same.bad.size(), 1u) << "the other one fails when it is read";
    EXPECT_EQ(same.bad[0].path, "there/cat/other.jpg");
}

TEST(ImageList, what_was_trained_on_is_told_by_contents_under_any_name) {
    const Dataset dataset = folder();
    const ImageList list = image_list(dataset);
    std::vector<Sample> here = all_samples(dataset);
    UnseenImages unseen = unseen_images(list, here, false);
    EXPECT_EQ(unseen.samples.size(), 2u);
    EXPECT_EQ(unseen.held_out, 2u);
    EXPECT_EQ(unseen.trained_on, 201u);
    EXPECT_EQ(unseen.added + unseen.missing + unseen.changed, 0u);

    here[0].place = ImagePlace("there/cat/renamed.jpg", "cat/renamed.jpg");
    here[1].content = 7777;                          // changed
    here.erase(here.begin() + 2);                    // gone
    here.push_back(sample("cat/new.jpg", 0, 3000));  // new
    unseen = unseen_images(list, here, false);
    EXPECT_EQ(unseen.held_out, 2u);
    EXPECT_EQ(unseen.added, 1u);
    EXPECT_EQ(unseen.changed, 1u);
    EXPECT_EQ(unseen.missing, 1u);
    EXPECT_EQ(unseen.samples.size(), 3u);
    for (const Sample& one : unseen.samples) EXPECT_GE(one.content, 2000u);

    // Another folder whose images happen to have the same names.
    for (std::size_t k = 0; k < here.size(); ++k) here[k].content = 5000 + k;
    unseen = unseen_images(list, here, false);
    EXPECT_EQ(unseen.samples.size(), here.size());
    EXPECT_EQ(unseen.held_out + unseen.trained_on, 0u);
    EXPECT_TRUE(unseen.same_names);

    // The training side alone holds nothing that the model has not seen.
    EXPECT_TRUE(unseen_images(list, dataset.train, true).samples.empty());
}
