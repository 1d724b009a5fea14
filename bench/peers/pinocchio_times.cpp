// Times Pinocchio's rigid-body algorithms on robots from URDF files.
//
//   pinocchio_times [--windows N] [--only CASE] ... (ROBOT fixed|floating FILE) ...
//
// Cases are ROBOT-ALGORITHM; with --only these alone, else all. Prints a JSON list: microseconds
// per call, as the median and the least over windows of calls.
//
// Build it with EIGEN_MAX_ALIGN_BYTES=16 and EIGEN_MALLOC_ALREADY_ALIGNED=1: the installed
// libraries are compiled for any processor, and with native instructions Eigen would otherwise lay
// out and free differently what is passed between them and this program.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <set>
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

constexpr int kCalls = 128;
constexpr int kStates = 16;

struct Options {
    int windows = 200;
    std::set<std::string> only;
};

struct Summary {
    double median;
    double least;
};

template <class Call>
Summary measure(int windows, const Call& call) {
    using Clock = std::chrono::steady_clock;
    std::vector<double> times;
    for (int window = 0; window <= windows; ++window) {
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

// Appends the rows of one robot to `rows`.
void measure_robot(const Options& options, const std::string& robot, bool floating,
                   const std::string& file, std::vector<std::string>& rows) {
    pinocchio::Model model;
    if (floating) {
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
    const auto add = [&](const char* algorithm, const auto& call) {
        const std::string name = robot + "-" + algorithm;
        if (!options.only.empty() && options.only.count(name) == 0) {
            return;
        }
        const Summary summary = measure(options.windows, call);
        char row[256];
        std::snprintf(row, sizeof row,
                      "{\"name\": \"%s\", \"peer\": \"pinocchio\", \"threads\": 1, \"nv\": %d, "
                      "\"microseconds_median\": %.4f, \"microseconds_min\": %.4f, \"n\": %d}",
                      name.c_str(), static_cast<int>(model.nv), summary.median, summary.least,
                      options.windows);
        rows.push_back(row);
    };
    add("rnea", [&](int i) { pinocchio::rnea(model, data, q[i], v[i], a[i]); });
    add("aba", [&](int i) { pinocchio::aba(model, data, q[i], v[i], a[i]); });
    add("crba", [&](int i) { pinocchio::crba(model, data, q[i]); });
    add("rnea-derivatives",
        [&](int i) { pinocchio::computeRNEADerivatives(model, data, q[i], v[i], a[i]); });
    add("aba-derivatives",
        [&](int i) { pinocchio::computeABADerivatives(model, data, q[i], v[i], a[i]); });
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    std::vector<std::string> rows;
    for (int i = 1; i < argc;) {
        const std::string argument = argv[i];
        if (argument == "--windows" && i + 1 < argc) {
            options.windows = std::max(1, std::atoi(argv[i + 1]));
            i += 2;
        } else if (argument == "--only" && i + 1 < argc) {
            options.only.insert(argv[i + 1]);
            i += 2;
        } else if (i + 2 < argc) {
            const std::string base = argv[i + 1];
            if (base != "fixed" && base != "floating") {
                std::fprintf(stderr, "the base of %s is fixed or floating, not %s\n", argv[i],
                             argv[i + 1]);
                return 2;
            }
            measure_robot(options, argument, base == "floating", argv[i + 2], rows);
            i += 3;
        } else {
            std::fprintf(
                stderr,
                "usage: %s [--windows N] [--only CASE] ... (ROBOT fixed|floating FILE) ...\n",
                argv[0]);
            return 2;
        }
    }
    std::string list;
    for (const std::string& row : rows) {
        list += (list.empty() ? "" : ", ") + row;
    }
    std::printf("[%s]\n", list.c_str());
    return 0;
}
