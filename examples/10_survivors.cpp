// A process is killed with a lock in hand and its work half done; the next one is told, mends, and goes on.
#include <tandem/tandem.hpp>

#include <csignal>
#include <iostream>
#include <utility>

struct Accounts {
  int from = 100, to = 0, moving = 0;
};

// What a killed process left half done: the money is out of one account and not yet in the other.
void mend(tandem::Queue<Accounts> books) {
  Accounts accounts = books.get();
  accounts.to += std::exchange(accounts.moving, 0);
  books.put(accounts);
}

// Moves money from one account to the other, which is two steps. Dies between them when told to.
void transfer(tandem::Lock lock, tandem::Queue<Accounts> books, bool dies) {
  if (lock.acquire().owner_died()) {
    mend(books);
    lock.repaired();
  }
  Accounts accounts = books.get();
  accounts.from -= 10;
  accounts.moving = 10;
  books.put(accounts);
  if (dies) std::raise(SIGKILL);
  accounts = books.get();
  accounts.to += std::exchange(accounts.moving, 0);
  books.put(accounts);
  lock.release();
}

int main() {
  tandem::init();
  tandem::Lock lock(tandem::OnOwnerDeath::Tell);
  tandem::Queue<Accounts> books;
  books.put({});
  for (const bool dies : {false, true, false}) {
    tandem::Process p(transfer, lock, books, dies);
    p.start();
    p.join();
    std::cout << "exit code " << *p.exitcode() << '\n';
  }
  const Accounts accounts = books.get();
  std::cout << accounts.from << " + " << accounts.to << '\n';
}
