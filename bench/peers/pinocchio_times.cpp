// Times Pinocchio's rigid-body algorithms on robots from URDF files.
//
//   pinocchio_times [--free-flyer] FILE ...
//
// Prints one JSON line per robot and algorithm: microseconds per call, as the median and the least
// over windows of calls. `--free-flyer` holds for all files that follow.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include <pinocchio/algorithm/aba-derivatives.hpp>
#include <pinocchio/algorithm/aba.hpp>
#include <pinocchio/algorithm/crba.hpp>
#include <pinocchio/algorithm/joint-configuration.hpp>
#include <pinocchio/algorithm/rnea-derivatives.hpp>
#include <pinocchio/algorithm/rnea.hpp>
#include <pinocchio/parsers/urdf.hpp>

namespace {

constexpr int kWindows = 200;
constexpr int kCalls = 128;
constexpr int kStates = 16;

struct Summary {
    double median;
    double least;
};

Summary measure(const std::function<void(int)>& call) {
    using Clock = std::chrono::steady_clock;
    std::vector<double> times;
    for (int window = 0; window <= kWindows; ++window) {
        const auto begin = Clock::now();
        for (int i = 0; i < kCalls; ++i) {
            call(i % kStates);
        }
        const std::chrono::duration<double, std::micro> time = Clock::now() - begin;
        // The first window fills the caches.
        if (window > 0) {
            times.push_back(time.count() / kCalls);
        }
    }
    std::sort(times.begin(), times.end());
    return {times[times.size() / 2], times.front()};
}

void measure_robot(const std::string& file, bool free_flyer) {
    pinocchio::Model model;
    if (free_flyer) {
        pinocchio::urdf::buildModel(file, pinocchio::JointModelFreeFlyer(), model);
    } else {
        pinocchio::urdf::buildModel(file, model);
    }
    pinocchio::Data data(model);
    // Position limits of free bases and continuous joints are infinite.
    const Eigen::VectorXd low = Eigen::VectorXd::Constant(model.nq, -1.0);
    const Eigen::VectorXd high = Eigen::VectorXd::Constant(model.nq, 1.0);
    std::vector<Eigen::VectorXd> q, v, a;
    for (int i = 0; i < kStates; ++i) {
        q.push_back(pinocchio::randomConfiguration(model, low, high));
        v.push_back(Eigen::VectorXd::Random(model.nv));
        a.push_back(Eigen::VectorXd::Random(model.nv));
    }
    const auto print = [&](const char* name, const std::function<void(int)>& call) {
        const Summary summary = measure(call);
        std::printf(
            "{\"robot\": \"%s\", \"nv\": %d, \"name\": \"%s\", \"peer\": \"pinocchio\", "
            "\"microseconds_median\": %.4f, \"microseconds_min\": %.4f, \"n\": %d}\n",
            model.name.c_str(), static_cast<int>(model.nv), name, summary.median, summary.least,
            kWindows);
    };
    print("rnea", [&](int i) { pinocchio::rnea(model, data, q[i], v[i], a[i]); });
    print("aba", [&](int i) { pinocchio::aba(model, data, q[i], v[i], a[i]); });
    print("crba", [&](int i) { pinocchio::crba(model, data, q[i]); });
    print("rnea_derivatives",
          [&](int i) { pinocchio::computeRNEADerivatives(model, data, q[i], v[i], a[i]); });
    print("aba_derivatives",
          [&](int i) { pinocchio::computeABADerivatives(model, data, q[i], v[i], a[i]); });
}

}  // namespace

int main(int argc, char** argv) {
    bool free_flyer = false;
    for (int i = 1; i < argc; ++i) {
        const std::string argument = argv[i];
        if (argument == "--free-flyer") {
            free_flyer = true;
        } else {
            measure_robot(argument, free_flyer);
        }
    }
    return 0;
}
