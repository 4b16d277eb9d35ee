"""The test cases of the semantic conventions for SQL (docs/non-normative/database-test-cases), one line for each.

A case has the statement, its summary, and its sanitized text where literals or comments are to go. A case of Microsoft
SQL Server is marked; all others are of any SQL.
"""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    query: str
    summary: str
    text: str | None = None
    """The sanitized text; None when nothing is to be replaced."""
    system: str = "other_sql"


MSSQL = "microsoft.sql_server"
LONG_NAME = "Vecnzotjejucwitzgrfifscuevittljlnrlpbruvkezeptqciyvbjhsytmbucbhwttidayecnthaztx" * 4

FIRST = [
    Case("SELECT 12, -12, +12", "SELECT", "SELECT ?, ?, ?"),
    Case("SELECT 12.34, -12.34, +12.34, .01, -.01", "SELECT", "SELECT ?, ?, ?, ?, ?"),
    Case("SELECT 12.34e56, -12.34e56, +12.34e56", "SELECT", "SELECT ?, ?, ?"),
    Case("SELECT 12.34e-56, -12.34e-56, +12.34e-56", "SELECT", "SELECT ?, ?, ?"),
    Case("SELECT 99+100", "SELECT", "SELECT ??"),
    Case("SELECT 0xDEADBEEF, 0XdeadBEEF", "SELECT", "SELECT ?, ?"),
    Case("SELECT 'hello'", "SELECT", "SELECT ?"),
    Case("SELECT 'My name''s not important'", "SELECT", "SELECT ?"),
    Case("SELECT 'My name is \n not important'", "SELECT", "SELECT ?"),
    Case(
        "SELECT c3po, r2d2 FROM covid19 WHERE n1h1=1234",
        "SELECT covid19",
        "SELECT c3po, r2d2 FROM covid19 WHERE n1h1=?",
    ),
    Case("SELECT a FROM dbo.Table JOIN dbo.AnotherTable", "SELECT dbo.Table dbo.AnotherTable"),
    Case("INSERT INTO X VALUES(1, 23456, 123.456, 99+100)", "INSERT X", "INSERT INTO X VALUES(?, ?, ?, ??)"),
    Case("SELECT { guid '01234567-89ab-cdef-0123-456789abcdef' }", "SELECT", "SELECT { guid ? }"),
    Case(
        "SELECT * FROM table WHERE value IN (123, 456, 'abc')",
        "SELECT table",
        "SELECT * FROM table WHERE value IN (?, ?, ?)",
    ),
    Case(
        "SELECT column -- end of line comment\nFROM /* block \n comment */ table",
        "SELECT table",
        "SELECT column \nFROM  table",
    ),
    Case(
        "INSERT INTO shipping_details\n(order_id,\naddress)\nSELECT order_id,\naddress\nFROM   orders\n"
        "WHERE  order_id = 1",
        "INSERT shipping_details SELECT orders",
        "INSERT INTO shipping_details\n(order_id,\naddress)\nSELECT order_id,\naddress\nFROM   orders\n"
        "WHERE  order_id = ?",
    ),
    Case(
        "SELECT order_date\nFROM   (SELECT *\nFROM   orders o\nJOIN customers c\nON o.customer_id = c.customer_id)",
        "SELECT SELECT orders customers",
    ),
    Case(
        "SELEcT order_date\nFROM   (sELECT *\nFROM   orders o\nJOIN customers c\nON o.customer_id = c.customer_id)",
        "SELEcT sELECT orders customers",
    ),
    Case("SELEcT order_date\nFROM ORders", "SELEcT ORders"),
    Case("SELECT * FROM Orders o CROSS JOIN OrderDetails od", "SELECT Orders OrderDetails"),
    Case("SELECT * FROM Orders o, OrderDetails od", "SELECT Orders OrderDetails"),
    Case(
        "CREATE  TABLE MyTable (\n    ID NOT NULL IDENTITY(1,1) PRIMARY KEY\n)",
        "CREATE TABLE MyTable",
        "CREATE  TABLE MyTable (\n    ID NOT NULL IDENTITY(?,?) PRIMARY KEY\n)",
    ),
    Case(
        "ALTER  TABLE MyTable ADD Name varchar(255)",
        "ALTER TABLE MyTable",
        "ALTER  TABLE MyTable ADD Name varchar(?)",
    ),
    Case("DROP  TABLE MyTable", "DROP TABLE MyTable"),
]
"""The 24 cases that the conventions began with."""

LATER = [
    Case("SELECT * FROM SelectedData", "SELECT SelectedData"),
    Case(f"SELECT * FROM {LONG_NAME} o, OrderDetails od", "SELECT"),
    Case("CREATE UNIQUE CLUSTERED INDEX IX_Email ON Employees (Email);", "CREATE INDEX IX_Email"),
    Case("CREATE UNIQUE INDEX IX_Email ON Employees (Email);", "CREATE INDEX IX_Email"),
    Case("SELECT DISTINCT Country FROM Countries", "SELECT Countries"),
    Case("SELECT DISTINCT o.Id FROM Orders o JOIN Customers c ON o.CustomerId = c.Id", "SELECT Orders Customers"),
    Case("CREATE TABLE IF NOT EXISTS Users (Id INT PRIMARY KEY, Name TEXT);", "CREATE TABLE Users"),
    Case(
        "CREATE VIEW ActiveUsers AS SELECT * FROM Users WHERE IsActive = 1;",
        "CREATE VIEW ActiveUsers",
        "CREATE VIEW ActiveUsers AS SELECT * FROM Users WHERE IsActive = ?;",
    ),
    Case(
        "ALTER TABLE Orders ADD COLUMN OrderStatus NVARCHAR(50);",
        "ALTER TABLE Orders",
        "ALTER TABLE Orders ADD COLUMN OrderStatus NVARCHAR(?);",
    ),
    Case("ALTER TABLE Orders RENAME COLUMN OldName TO NewName;", "ALTER TABLE Orders"),
    Case("ALTER TABLE Orders DROP COLUMN TempColumn;", "ALTER TABLE Orders"),
    Case(
        "CREATE PROCEDURE GetUserById @UserId INT AS SELECT * FROM Users WHERE Id = @UserId;",
        "CREATE PROCEDURE GetUserById",
    ),
    Case(
        "CREATE TRIGGER trg_Stamp ON Orders AFTER UPDATE AS BEGIN UPDATE Orders SET UpdatedAt = GETDATE() WHERE Id IN "
        "(SELECT Id FROM inserted); END;",
        "CREATE TRIGGER trg_Stamp",
    ),
    Case(
        "ALTER TRIGGER trg_AfterInsert ON Employees AFTER INSERT AS BEGIN INSERT INTO AuditLog (EmployeeId, Action) "
        "SELECT Id, 'INSERT' FROM inserted; END;",
        "ALTER TRIGGER trg_AfterInsert",
        "ALTER TRIGGER trg_AfterInsert ON Employees AFTER INSERT AS BEGIN INSERT INTO AuditLog (EmployeeId, Action) "
        "SELECT Id, ? FROM inserted; END;",
    ),
    Case("CREATE INDEX IX_Customer ON Orders (CustomerId) INCLUDE (OrderDate);", "CREATE INDEX IX_Customer"),
    Case("DROP TRIGGER IF EXISTS trg_AfterInsert;", "DROP TRIGGER trg_AfterInsert"),
    Case("DROP PROCEDURE IF EXISTS RemoveEmployee;", "DROP PROCEDURE RemoveEmployee"),
    Case(
        "SELECT o.Id, SUM(oi.Quantity) FROM Orders o JOIN Customers c ON o.CustomerId = c.Id JOIN OrderItems oi "
        "ON o.Id = oi.OrderId GROUP BY o.Id, c.Name;",
        "SELECT Orders Customers OrderItems",
    ),
    Case(
        "SELECT DISTINCT Department, COUNT(*) OVER (PARTITION BY Department) AS DeptCount FROM Employees;",
        "SELECT Employees",
    ),
    Case(
        "SELECT Id, Name FROM Customers UNION SELECT Id, Name FROM Suppliers ORDER BY Name;",
        "SELECT Customers Suppliers",
    ),
    Case("CREATE DATABASE TestDb;", "CREATE DATABASE TestDb"),
    Case("ALTER DATABASE TestDb MODIFY NAME = NewTestDb;", "ALTER DATABASE TestDb"),
    Case("DROP SCHEMA IF EXISTS Reporting;", "DROP SCHEMA Reporting"),
    Case("ALTER SCHEMA Reporting TRANSFER dbo.OldTable;", "ALTER SCHEMA Reporting"),
    Case(
        "CREATE SEQUENCE SalesSeq START WITH 1 INCREMENT BY 1;",
        "CREATE SEQUENCE SalesSeq",
        "CREATE SEQUENCE SalesSeq START WITH ? INCREMENT BY ?;",
    ),
    Case(
        "CREATE FUNCTION dbo.GetTotal(@a INT, @b INT) RETURNS INT AS BEGIN RETURN @a + @b; END;",
        "CREATE FUNCTION dbo.GetTotal",
        system=MSSQL,
    ),
    Case("DROP FUNCTION dbo.GetTotal;", "DROP FUNCTION dbo.GetTotal", system=MSSQL),
    Case(
        "CREATE USER johndoe WITH PASSWORD = 'password';",
        "CREATE USER johndoe",
        "CREATE USER johndoe WITH PASSWORD = ?;",
    ),
    Case("ALTER ROLE app_admin ADD MEMBER johndoe;", "ALTER ROLE app_admin"),
    Case("ALTER INDEX IX_Email ON Employees REBUILD;", "ALTER INDEX IX_Email"),
    Case("EXEC sp_rename 'OldTable', 'NewTable';", "EXEC sp_rename", "EXEC sp_rename ?, ?;", system=MSSQL),
    Case("EXEC GetAllEmployees;", "EXEC GetAllEmployees"),
    Case("EXEC GetEmployeeById @EmployeeId = 42;", "EXEC GetEmployeeById", "EXEC GetEmployeeById @EmployeeId = ?;"),
    Case("INSERT INTO T (A) VALUES (123)", "INSERT T", "INSERT INTO T (A) VALUES (?)"),
    Case("SELECT ((123)) AS C;", "SELECT", "SELECT ((?)) AS C;"),
    Case("CREATE TABLE T (A INT DEFAULT (123));", "CREATE TABLE T", "CREATE TABLE T (A INT DEFAULT (?));"),
    Case(
        "SELECT * FROM T WHERE Amount BETWEEN (10) AND (20);",
        "SELECT T",
        "SELECT * FROM T WHERE Amount BETWEEN (?) AND (?);",
    ),
    Case("SELECT * FROM T WHERE Id = COALESCE((123), 0);", "SELECT T", "SELECT * FROM T WHERE Id = COALESCE((?), ?);"),
    Case("SELECT CAST((123) AS INT);", "SELECT", "SELECT CAST((?) AS INT);"),
    Case("SELECT TOP (10) * FROM Employees", "SELECT Employees", "SELECT TOP (?) * FROM Employees", system=MSSQL),
    Case("SELECT TOP 10 * FROM Employees", "SELECT Employees", "SELECT TOP ? * FROM Employees", system=MSSQL),
    Case(
        "SELECT * FROM table WHERE value IN (-123, .456, 'abc', 0.12, 1e10)",
        "SELECT table",
        "SELECT * FROM table WHERE value IN (?, ?, ?, ?, ?)",
    ),
    Case(
        "SELECT * FROM table WHERE value IN ('abc', 0xAB, .456,",
        "SELECT table",
        "SELECT * FROM table WHERE value IN (?, ?, ?,",
    ),
    Case(
        "ALTER  TABLE MyTable ADD Name varchar(255) 'mypassword' 1234",
        "ALTER TABLE MyTable",
        "ALTER  TABLE MyTable ADD Name varchar(?) ? ?",
    ),
    Case(
        "ALTER  TABLE MyTable 'mypassword' ADD 123 Name varchar(255)",
        "ALTER TABLE MyTable",
        "ALTER  TABLE MyTable ? ADD ? Name varchar(?)",
    ),
]
"""Of the cases that came later, one for each rule."""
