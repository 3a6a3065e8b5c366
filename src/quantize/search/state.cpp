#include "quantize/search/state.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "graph/error.h"

namespace ounce::quantize::search {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kVersion = 1;

Json to_json(const Verdict& verdict) {
  return {{"metric", verdict.metric},
          {"drop", verdict.drop},
          {"loss", verdict.loss},
          {"bytes", verdict.bytes},
          {"ms", verdict.ms}};
}

Verdict verdict_from(const Json& json) {
  Verdict verdict;
  json.at("metric").get_to(verdict.metric);
  json.at("drop").get_to(verdict.drop);
  // JSON has no infinity: a network whose outputs are NaN is written as null.
  verdict.loss = json.at("loss").is_null() ? std::numeric_limits<double>::infinity()
                                           : json.at("loss").get<double>();
  json.at("bytes").get_to(verdict.bytes);
  json.at("ms").get_to(verdict.ms);
  return verdict;
}

Json to_json(const Unit& unit) {
  Json json{{"name", unit.name},
            {"op", unit.op},
            {"layers", unit.layers},
            {"has_weights", unit.has_weights},
            {"parameters", unit.parameters},
            {"choices", Json::array()}};
  for (const Choice& choice : unit.choices) {
    Json one{{"setting", name_of(choice.setting)}, {"bytes", choice.bytes}, {"ms", choice.ms}};
    if (choice.loss) {
      one["loss"] = *choice.loss;
      one["runs"] = choice.runs;
    }
    json["choices"].push_back(std::move(one));
  }
  return json;
}

Choice choice_from(const Json& json) {
  Choice choice;
  const auto setting = setting_from_name(json.at("setting").get<std::string>());
  if (!setting) throw Error("unknown setting");
  choice.setting = *setting;
  json.at("bytes").get_to(choice.bytes);
  json.at("ms").get_to(choice.ms);
  if (json.contains("loss")) {
    choice.loss = json["loss"].is_null() ? std::numeric_limits<double>::infinity()
                                         : json["loss"].get<double>();
    json.at("runs").get_to(choice.runs);
  }
  return choice;
}

Unit unit_from(const Json& json) {
  Unit unit;
  json.at("name").get_to(unit.name);
  json.at("op").get_to(unit.op);
  json.at("layers").get_to(unit.layers);
  json.at("has_weights").get_to(unit.has_weights);
  json.at("parameters").get_to(unit.parameters);
  for (const Json& one : json.at("choices")) unit.choices.push_back(choice_from(one));
  const bool sound = !unit.layers.empty() && unit.layers.size() == unit.has_weights.size() &&
                     !unit.choices.empty() && unit.choices.front().setting.is_float();
  if (!sound) throw Error("unit '" + unit.name + "' is not whole");
  return unit;
}

Trial trial_from(const Json& json, const std::vector<Unit>& units) {
  Trial trial;
  json.at("kind").get_to(trial.kind);
  json.at("goal").get_to(trial.goal);
  json.at("choices").get_to(trial.assignment);
  trial.verdict = verdict_from(json);
  bool sound = trial.assignment.size() == units.size();
  for (size_t u = 0; sound && u < units.size(); ++u) {
    sound = trial.assignment[u] < units[u].choices.size();
  }
  if (!sound) throw Error("a trial does not fit the units");
  return trial;
}

}  // namespace

const Trial* State::find(const Assignment& assignment) const {
  for (const Trial& trial : trials) {
    if (trial.assignment == assignment) return &trial;
  }
  return nullptr;
}

std::string to_json(const State& state) {
  Json json{{"ounce_search", kVersion},      {"fingerprint", state.fingerprint},
            {"float", to_json(state.exact)}, {"float_ms", state.float_ms},
            {"units", Json::array()},        {"trials", Json::array()}};
  for (const Unit& unit : state.units) json["units"].push_back(to_json(unit));
  for (const Trial& trial : state.trials) {
    Json one{{"kind", trial.kind}, {"goal", trial.goal}};
    one.update(to_json(trial.verdict));
    one["choices"] = trial.assignment;
    json["trials"].push_back(std::move(one));
  }
  return json.dump(1, ' ', false, Json::error_handler_t::replace);
}

State from_json(const std::string& text, const std::string& file) {
  const char* const remedy = "another output folder, or remove the file";
  try {
    const Json json = Json::parse(text);
    if (json.at("ounce_search").get<int>() != kVersion) {
      throw Error("is of another version of ounce", file, remedy);
    }
    State state;
    json.at("fingerprint").get_to(state.fingerprint);
    state.exact = verdict_from(json.at("float"));
    json.at("float_ms").get_to(state.float_ms);
    for (const Json& unit : json.at("units")) state.units.push_back(unit_from(unit));
    for (const Json& trial : json.at("trials")) {
      state.trials.push_back(trial_from(trial, state.units));
    }
    return state;
  } catch (const nlohmann::json::exception&) {
    throw Error("is no state of a search", file, remedy);
  } catch (const Error& error) {
    if (!error.where().empty()) throw;
    throw Error(error.message(), file, remedy);
  }
}

}  // namespace ounce::quantize::search
