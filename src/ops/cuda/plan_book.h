// Which plans compute the convolutions of a run. They decide the last bits of its results, so a
// checkpoint keeps them and what continues it takes the same ones again.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

namespace onecycle {

class PlanBook {
  public:
    // Takes an earlier text() as what is preferred (empty: nothing is) and forgets what was in use.
    // False when that changes nothing: the very same plans are in use.
    bool prefer(const std::string& record);

    // For those who plan convolutions. `machine`: the GPU and the library, on which a plan depends.
    std::optional<std::string> preferred(const std::string& machine, const std::string& convolution) const;
    void use(const std::string& machine, const std::string& convolution, const std::string& plan);

    // Whether this is the first call for this convolution: a warning is said once.
    bool first_warning(const std::string& convolution) { return warned_.insert(convolution).second; }

    // What is in use, as JSON in one line; empty when nothing is.
    std::string text() const;

    // One line that says which plans that were preferred are not the ones in use; empty when there
    // is none.
    std::string complaint() const;

  private:
    struct Plans {
        std::string machine;
        std::map<std::string, std::string> plan;  // by convolution
    };
    static Plans parse(const std::string& record);

    Plans preferred_, used_;
    std::set<std::string> warned_;
};

}  // namespace onecycle
