// What `tandem compare` prints, and the works that come with it.
#include <gmock/gmock.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "support/leak_checked_test.hpp"
#include "support/random.hpp"
#include "support/tool.hpp"

namespace tandem::testing {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

class CliCompareTest : public LeakCheckedTest {
 protected:
  bool keep_services() const override { return false; }
  std::chrono::seconds time_limit() const override { return std::chrono::seconds(100); }
};

/// Runs one round with --json; all rows must agree.
Json compare_json(std::vector<std::string> arguments, std::size_t workers = 2) {
  arguments.insert(arguments.begin(), "compare");
  arguments.insert(arguments.end(), {"--json", "--runs", "1", "--workers", std::to_string(workers)});
  const ToolRun run = run_tool(arguments);
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.err, "");
  Json found = Json::parse(run.out);
  EXPECT_TRUE(found.at("agree").get<bool>());
  for (const Json& row : found.at("rows")) EXPECT_EQ(row.at("result"), found.at("rows").at(0).at("result"));
  return found;
}

std::string result_of(const Json& found) {
  return found.at("rows").at(0).at("result").get<std::string>();
}

std::vector<std::string> names(const Json& object) {
  std::vector<std::string> names;
  for (const auto& item : object.items()) names.push_back(item.key());
  return names;
}

std::vector<std::string> places(const Json& found) {
  std::vector<std::string> places;
  for (const Json& row : found.at("rows")) places.push_back(row.at("where"));
  return places;
}

// ---------------------------------------------------------------------------------------------------------------------
// The contract of --json: adding a name is a change for its readers, changing one breaks them.

TEST_F(CliCompareTest, JsonHasTheNamesOfTheContract) {
  const Json found = compare_json({"sum", "--to", "100000"});
  EXPECT_THAT(names(found), ElementsAre("work", "inputs", "machine", "workers", "runs", "rows", "agree", "advice"));
  EXPECT_THAT(names(found.at("machine")), ElementsAre("cores", "kernel", "compiler", "limit"));
  EXPECT_THAT(names(found.at("advice")), ElementsAre("where", "reasons"));
  EXPECT_THAT(places(found), ElementsAre("serial", "threads", "gil", "processes"));
  for (const Json& row : found.at("rows")) {
    EXPECT_THAT(names(row), ElementsAre("where", "wall_s", "cpu_s", "start_s", "speedup", "of_limit",
                                        "peak_memory_bytes", "result"));
    for (const char* spread : {"wall_s", "cpu_s", "start_s"})
      EXPECT_THAT(names(row.at(spread)), ElementsAre("min", "median", "max"));
  }
}

TEST_F(CliCompareTest, JsonHoldsWhatItSays) {
  const Json found = compare_json({"sum", "--to", "30000000"});
  EXPECT_EQ(found.at("work"), "sum");
  EXPECT_EQ(found.at("inputs"), "--to 30000000");
  EXPECT_EQ(found.at("workers"), 2);
  EXPECT_EQ(found.at("runs"), 1);
  EXPECT_GE(found.at("machine").at("cores"), 1);
  EXPECT_THAT(found.at("machine").at("kernel").get<std::string>(), HasSubstr("Linux"));
  EXPECT_GT(found.at("machine").at("limit"), 0);
  EXPECT_TRUE(found.at("advice").at("where").is_string());
  EXPECT_GE(found.at("advice").at("reasons").size(), 2U);
  const double serial_s = found.at("rows").at(0).at("wall_s").at("median");
  for (const Json& row : found.at("rows")) {
    EXPECT_TRUE(row.at("result").is_string());
    EXPECT_EQ(row.at("result"), "449999985000000");
    const double wall_s = row.at("wall_s").at("median");
    const double speedup = row.at("speedup");
    EXPECT_GT(wall_s, 0);
    EXPECT_GT(row.at("cpu_s").at("median"), 0);
    EXPECT_NEAR(speedup, serial_s / wall_s, 1e-9);
    EXPECT_NEAR(row.at("of_limit").get<double>(), speedup / found.at("machine").at("limit").get<double>(), 1e-9);
    EXPECT_GT(row.at("peak_memory_bytes"), 100'000U);
    if (row.at("where") == "serial") {
      EXPECT_EQ(row.at("start_s").at("max"), 0.0);
    } else {
      EXPECT_GT(row.at("start_s").at("min"), 0);
      EXPECT_LT(row.at("start_s").at("min"), wall_s);
    }
  }
}

TEST_F(CliCompareTest, WherePicksTheRows) {
  const Json found = compare_json({"sum", "--to", "1000", "--where", "processes,threads"});
  EXPECT_THAT(places(found), ElementsAre("threads", "processes"));
  EXPECT_GT(found.at("rows").at(0).at("speedup"), 0);
}

// ---------------------------------------------------------------------------------------------------------------------
// The table.

TEST_F(CliCompareTest, TableFitsEightyColumns) {
  const ToolRun run = run_tool({"compare", "sum", "--to", "1000000", "--runs", "2", "--workers", "2"});
  EXPECT_EQ(run.code, 0);
  EXPECT_EQ(run.err, "");
  for (const char* text : {"work      sum --to 1000000\n", "\nserial", "\nthreads", "\ngil", "\nprocesses",
                           "\nresult    499999500000\n", "\nagree     yes", "\nadvice", "\nlimit"})
    EXPECT_THAT(run.out, HasSubstr(text));
  std::istringstream lines(run.out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80U) << line;
}

TEST_F(CliCompareTest, TableShowsNoControlCharacters) {
  const ToolRun run = run_tool(
      {"compare", "plugin", built_file("tests/plugins/mischief.so"), "lines", "--runs", "1", "--where", "serial"});
  EXPECT_THAT(run.out, HasSubstr("result    one\n          two\\x1b[2J\n"));
}

// ---------------------------------------------------------------------------------------------------------------------
// primes

TEST_F(CliCompareTest, PrimesAreCounted) {
  for (const auto& [to, count] : std::map<std::string, std::string>{
           {"0", "0"}, {"2", "0"}, {"3", "1"}, {"10", "4"}, {"1000", "168"}, {"1000000", "78498"}})
    for (const std::size_t workers : {1, 2, 3})
      EXPECT_EQ(result_of(compare_json({"primes", "--to", to}, workers)), count);
}

TEST_F(CliCompareTest, PrimesRefusesWhatIsNoNumber) {
  EXPECT_EQ(run_tool({"compare", "primes", "--to", "1000000001"}).code, 2);
  EXPECT_EQ(run_tool({"compare", "primes"}).code, 2);
}

// ---------------------------------------------------------------------------------------------------------------------
// sum

TEST_F(CliCompareTest, SumIsTheNotes) {
  EXPECT_EQ(result_of(compare_json({"sum", "--to", "100000000"})), "4999999950000000");
}

TEST_F(CliCompareTest, SumIsTheSameForAnyNumberOfWorkers) {
  for (const std::size_t workers : {1, 7}) {
    EXPECT_EQ(result_of(compare_json({"sum", "--to", "10"}, workers)), "45");
    EXPECT_EQ(result_of(compare_json({"sum", "--to", "0"}, workers)), "0");
    EXPECT_EQ(result_of(compare_json({"sum", "--to", "1000001"}, workers)), "500000500000");
  }
}

/// The machine code of a function of the tool, as objdump shows it.
std::string machine_code(const std::string& function) {
  const std::string command =
      "objdump -d --no-show-raw-insn -C --disassemble='" + function + "' " + built_file("cli/tandem") + " 2>&1";
  std::string text;
  FILE* const output = ::popen(command.c_str(), "r");
  for (std::array<char, 4096> part; std::fgets(part.data(), part.size(), output) != nullptr;) text += part.data();
  EXPECT_EQ(::pclose(output), 0) << text;
  return text;
}

// Neither a closed form, which would multiply, nor a vector sum, which would use the registers for those.
TEST_F(CliCompareTest, SumAddsOneByOne) {
  const std::string code = machine_code("tandem::tool::add_one_by_one(unsigned long, unsigned long, unsigned long)");
  EXPECT_THAT(code, HasSubstr("add "));
  EXPECT_THAT(code, HasSubstr("\tj")) << "no loop";
  EXPECT_EQ(code.find("mul"), std::string::npos) << code;
  EXPECT_EQ(code.find("xmm"), std::string::npos) << code;
  EXPECT_EQ(code.find("ymm"), std::string::npos) << code;
}

// ---------------------------------------------------------------------------------------------------------------------
// words

TEST_F(CliCompareTest, WordsCountsLettersOfEveryAlphabet) {
  // Upper and lower case are one word, also beyond ASCII; a combining mark belongs to its letter; digits, punctuation
  // and bytes that are no UTF-8 separate.
  const TemporaryFile text(
      "Äpfel ÄPFEL äpfel. don't 4you\xff"
      "end Жук жук e\u0301t\u00e9 漢字、漢字\xe2\x82");
  const Json found = compare_json({"words", text.path()});
  EXPECT_EQ(result_of(found),
            "total 12, distinct 8, most frequent: äpfel 3, жук 2, 漢字 2, don 1, end 1, e\u0301t\u00e9 1, t 1, you 1");
}

TEST_F(CliCompareTest, WordsBreaksTiesByTheWord) {
  const TemporaryFile text("l k j i h g f e d c b a a");
  EXPECT_EQ(result_of(compare_json({"words", text.path()})),
            "total 13, distinct 12, most frequent: a 2, b 1, c 1, d 1, e 1, f 1, g 1, h 1, i 1, j 1");
}

TEST_F(CliCompareTest, WordsSeesFilesAsSeparateTexts) {
  const TemporaryFile first("one tw");
  const TemporaryFile empty("");
  const TemporaryFile second("o three");
  EXPECT_EQ(result_of(compare_json({"words", first.path(), empty.path(), second.path()}, 3)),
            "total 4, distinct 4, most frequent: o 1, one 1, three 1, tw 1");
}

TEST_F(CliCompareTest, WordsIsTheSameForAnyNumberOfWorkers) {
  std::mt19937_64 random = random_engine();
  const std::array<std::string, 12> pieces = {"a", "B",  "é", "Ж",    "漢",       "\u0301",
                                              " ", "\n", ".", "\xff", "\xe2\x82", "\xf0"};
  std::string bytes;
  while (bytes.size() < 400'000) bytes += pieces[random() % pieces.size()];
  const TemporaryFile mixed(bytes);
  const TemporaryFile one_word(std::string(300'000, 'x'));
  const std::string alone = result_of(compare_json({"words", mixed.path(), one_word.path(), "--where", "serial"}, 1));
  for (const std::size_t workers : {2, 3, 16})
    EXPECT_EQ(result_of(compare_json({"words", mixed.path(), one_word.path()}, workers)), alone);
}

TEST_F(CliCompareTest, WordsReadsTheRealTextsOfThisSystem) {
  const Json found = compare_json({"words", "/usr/share/common-licenses/GPL-3"});
  EXPECT_THAT(result_of(found), HasSubstr("most frequent: the "));
}

// ---------------------------------------------------------------------------------------------------------------------
// sha256, wait, plugin

TEST_F(CliCompareTest, Sha256GivesTheDigestsInTheOrderOfTheFiles) {
  // The test vectors of FIPS 180-2, and an empty file among others.
  const TemporaryFile abc("abc");
  const TemporaryFile empty("");
  const TemporaryFile million(std::string(1'000'000, 'a'));
  const std::string expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  " + abc.path() +
                               "\ne3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  " + empty.path() +
                               "\ncdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0  " + million.path();
  for (const std::size_t workers : {1, 2, 5})
    EXPECT_EQ(result_of(compare_json({"sha256", abc.path(), empty.path(), million.path()}, workers)), expected);
}

TEST_F(CliCompareTest, WaitsTakeTheirTime) {
  const Json found = compare_json({"wait", "--ms", "20", "--count", "5"});
  EXPECT_EQ(result_of(found), "5 waits of 20 ms");
  EXPECT_GE(found.at("rows").at(0).at("wall_s").at("min"), 0.1);
  for (const Json& row : found.at("rows")) EXPECT_GE(row.at("wall_s").at("min"), 0.06) << row;
  // Unless it came too late out of the waits, because others had the cores, for most of its time.
  EXPECT_THAT(found.at("advice").at("reasons").at(0).get<std::string>(),
              AnyOf(HasSubstr("waits overlap"), HasSubstr("other programs had the cores")));
}

TEST_F(CliCompareTest, PluginRunsInEveryPlace) {
  const std::string plugin = built_file("examples/plugin/primes.so");
  const Json found = compare_json({"plugin", plugin, "10000"}, 3);
  EXPECT_EQ(found.at("work"), "plugin");
  EXPECT_EQ(found.at("inputs"), plugin + " 10000");
  EXPECT_EQ(result_of(found), "1229");
}

}  // namespace
}  // namespace tandem::testing
